#include <algorithm>
#include <cstdint>

#include "data/augmentations/built_in.h"
#include "data/augmentations/random_box.h"

namespace pfc {

void keep_box(const ImageView& image, const ImageBox& box) {
  for (int y = 0; y < image.height; ++y) {
    const auto row = image.row(y);
    const bool is_inside = y >= box.top && y < box.top + box.height;
    const auto begin = row.begin() + (is_inside ? box.left * 3 : image.width * 3);
    std::fill(row.begin(), begin, std::uint8_t{0});
    if (is_inside) std::fill(begin + box.width * 3, row.end(), std::uint8_t{0});
  }
}

/// AdaFace's (Kim et al., CVPR 2022).
Augmentation crop_augmentation() {
  return {
      .name = "crop",
      .meaning = "a box of the image stays at its place, on black",
      .probability = 0.2,
      .settings = {{"area", 0.2, key::above_to(0, 1), "the smallest box, as a share of the image"},
                   {"aspect", 4.0 / 3, key::from_to(1, 10),
                    "how much wider than high, or higher than wide, a box may be"}},
      .make = [](std::span<const double> values) {
        return [limits = BoxLimits{values[0], 1, values[1]}](const ImageView& image,
                                                             AugmentationDraws& draws) {
          keep_box(image, draw_box_or_middle(image, limits, draws));
        };
      }};
}

}  // namespace pfc
