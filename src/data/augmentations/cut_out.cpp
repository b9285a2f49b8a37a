#include <algorithm>
#include <cstdint>

#include "data/augmentations/built_in.h"
#include "data/augmentations/random_box.h"

namespace pfc {
namespace {

constexpr double kLeastErased = 0.02;  // of the image

}  // namespace

void erase_box(const ImageView& image, const ImageBox& box) {
  for (int y = box.top; y < box.top + box.height; ++y)
    std::fill_n(image.at(box.left, y), box.width * 3, std::uint8_t{0});
}

/// torchvision's RandomErasing (Zhong et al., AAAI 2020).
Augmentation cut_out_augmentation() {
  return {.name = "cut_out",
          .meaning = "a box of the image becomes black",
          .probability = 0.2,
          .settings = {{"area", 0.33, key::from_to(kLeastErased, 1),
                        "the largest box, as a share of the image"},
                       {"aspect", 3.3, key::from_to(1, 10),
                        "how much wider than high, or higher than wide, a box may be"}},
          .make = [](std::span<const double> values) {
            return [limits = BoxLimits{kLeastErased, values[0], values[1]}](
                       const ImageView& image, AugmentationDraws& draws) {
              if (const auto box = draw_box(image, limits, draws)) erase_box(image, *box);
            };
          }};
}

}  // namespace pfc
