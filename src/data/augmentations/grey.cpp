#include <algorithm>
#include <cstddef>

#include "data/augmentations/built_in.h"
#include "data/augmentations/changes.h"

namespace pfc {
namespace {

void to_grey(const ImageView& image) {
  for (int y = 0; y < image.height; ++y) {
    const auto row = image.row(y);
    for (std::size_t i = 0; i < row.size(); i += 3) std::fill_n(&row[i], 3, luma(&row[i]));
  }
}

}  // namespace

Augmentation grey_augmentation() {
  return {.name = "grey",
          .meaning = "the image loses its colours",
          .probability = 0.2,
          .make = [](auto) {
            return [](const ImageView& image, AugmentationDraws&) { to_grey(image); };
          }};
}

}  // namespace pfc
