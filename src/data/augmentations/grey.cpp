#include <cstddef>
#include <cstdint>

#include "data/augmentations/built_in.h"

namespace pfc {
namespace {

/// ITU-R 601-2 luma in 16 bits, as Pillow has it.
void to_grey(const ImageView& image) {
  for (int y = 0; y < image.height; ++y) {
    const auto row = image.row(y);
    for (std::size_t i = 0; i < row.size(); i += 3) {
      const std::uint32_t luma =
          (row[i] * 19595u + row[i + 1] * 38470u + row[i + 2] * 7471u + 0x8000u) >> 16;
      row[i] = row[i + 1] = row[i + 2] = static_cast<std::uint8_t>(luma);
    }
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
