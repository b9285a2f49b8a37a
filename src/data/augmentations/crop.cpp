#include <algorithm>
#include <cmath>
#include <cstdint>

#include "data/augmentations/built_in.h"

namespace pfc {
namespace {

struct Box {
  int left, top, width, height;
};

/// As torchvision's RandomResizedCrop draws it: ten tries, then the largest box in the middle whose
/// aspect is allowed.
Box draw_box(const ImageView& image, double least_area, double most_aspect,
             AugmentationDraws& draws) {
  const double width = image.width, height = image.height;
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    const double area = width * height * draws.uniform(least_area, 1);
    const double log_aspect = std::log(most_aspect);
    const double aspect = std::exp(draws.uniform(-log_aspect, log_aspect));
    const double w = std::round(std::sqrt(area * aspect)), h = std::round(std::sqrt(area / aspect));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    const auto left = draws.below(image.width - static_cast<int>(w) + 1);
    const auto top = draws.below(image.height - static_cast<int>(h) + 1);
    return {static_cast<int>(left), static_cast<int>(top), static_cast<int>(w),
            static_cast<int>(h)};
  }
  const int w = std::min(image.width, static_cast<int>(std::round(height * most_aspect)));
  const int h = std::min(image.height, static_cast<int>(std::round(width * most_aspect)));
  return {(image.width - w) / 2, (image.height - h) / 2, w, h};
}

void keep_box(const ImageView& image, const Box& box) {
  for (int y = 0; y < image.height; ++y) {
    const auto row = image.row(y);
    const bool is_inside = y >= box.top && y < box.top + box.height;
    const auto begin = row.begin() + (is_inside ? box.left * 3 : image.width * 3);
    std::fill(row.begin(), begin, std::uint8_t{0});
    if (is_inside) std::fill(begin + box.width * 3, row.end(), std::uint8_t{0});
  }
}

}  // namespace

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
        return [area = values[0], aspect = values[1]](const ImageView& image,
                                                      AugmentationDraws& draws) {
          keep_box(image, draw_box(image, area, aspect, draws));
        };
      }};
}

}  // namespace pfc
