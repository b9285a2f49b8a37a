#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/augmentations/built_in.h"
#include "data/augmentations/changes.h"
#include "data/augmentations/opencv_view.h"

namespace pfc {
namespace {

int interpolation(Resampling resampling) {
  constexpr std::array kOpenCvs = {cv::INTER_NEAREST, cv::INTER_LINEAR, cv::INTER_AREA,
                                   cv::INTER_CUBIC, cv::INTER_LANCZOS4};
  return kOpenCvs[static_cast<std::size_t>(resampling)];
}

/// One pixel at least.
int share_of(int side, double share) {
  return std::max(1, static_cast<int>(share * side));
}

Resampling draw_resampling(AugmentationDraws& draws) {
  return kResamplings[static_cast<std::size_t>(draws.below(kResamplings.size()))];
}

}  // namespace

void resample(const ImageView& from, const ImageView& to, Resampling resampling) {
  cv::Mat filled = view_of(to);
  cv::resize(view_of(from), filled, filled.size(), 0, 0, interpolation(resampling));
}

/// AdaFace's (Kim et al., CVPR 2022).
Augmentation low_resolution_augmentation() {
  return {.name = "low_resolution",
          .meaning = "the image is made smaller and enlarged again",
          .probability = 0.2,
          .settings = {{"side", 0.2, key::above_to(0, 1),
                        "the smallest side that it is made, as a share of its own"}},
          .make = [](std::span<const double> values) {
            return [least = values[0]](const ImageView& image, AugmentationDraws& draws) {
              const double share = draws.uniform(least, 1);
              const int width = share_of(image.width, share);
              const int height = share_of(image.height, share);
              std::vector<std::uint8_t> pixels(3 * static_cast<std::size_t>(width) *
                                               static_cast<std::size_t>(height));
              const ImageView small{pixels.data(), width, height};
              resample(image, small, draw_resampling(draws));
              resample(small, image, draw_resampling(draws));
            };
          }};
}

}  // namespace pfc
