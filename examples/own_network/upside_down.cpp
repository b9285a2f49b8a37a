// An augmentation of your own.
#include "upside_down.h"

#include <pfc/data/augmentation.h>

#include <algorithm>

namespace {

void turn(const pfc::ImageView& image, pfc::AugmentationDraws&) {
  for (int y = 0; y < image.height / 2; ++y)
    std::ranges::swap_ranges(image.row(y), image.row(image.height - 1 - y));
}

}  // namespace

void register_upside_down() {
  pfc::register_augmentation({.name = "upside_down",
                              .meaning = "the image is turned upside down",
                              .probability = 0.1,
                              .make = [](auto) { return turn; }});
}
