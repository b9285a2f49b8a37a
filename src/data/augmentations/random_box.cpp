#include "data/augmentations/random_box.h"

#include <algorithm>
#include <cmath>

namespace pfc {

std::optional<ImageBox> draw_box(const ImageView& image, const BoxLimits& limits,
                                 AugmentationDraws& draws) {
  const double width = image.width, height = image.height;
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    const double area = width * height * draws.uniform(limits.least_area, limits.most_area);
    const double log_aspect = std::log(limits.most_aspect);
    const double aspect = std::exp(draws.uniform(-log_aspect, log_aspect));
    const double w = std::round(std::sqrt(area * aspect)), h = std::round(std::sqrt(area / aspect));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    const auto left = draws.below(image.width - static_cast<int>(w) + 1);
    const auto top = draws.below(image.height - static_cast<int>(h) + 1);
    return ImageBox{static_cast<int>(left), static_cast<int>(top), static_cast<int>(w),
                    static_cast<int>(h)};
  }
  return std::nullopt;
}

ImageBox draw_box_or_middle(const ImageView& image, const BoxLimits& limits,
                            AugmentationDraws& draws) {
  if (const auto box = draw_box(image, limits, draws)) return *box;
  const auto longest = [&](int side) {
    return static_cast<int>(std::round(side * limits.most_aspect));
  };
  const int w = std::min(image.width, longest(image.height));
  const int h = std::min(image.height, longest(image.width));
  return {(image.width - w) / 2, (image.height - h) / 2, w, h};
}

}  // namespace pfc
