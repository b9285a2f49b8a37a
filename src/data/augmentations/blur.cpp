#include <cmath>

#include "data/augmentations/built_in.h"
#include "data/augmentations/changes.h"
#include "data/augmentations/opencv_view.h"

namespace pfc {
namespace {

constexpr double kLeastSigma = 0.3;  // a smaller one hardly changes a pixel

}  // namespace

void blur(const ImageView& image, double sigma) {
  const int side = 2 * static_cast<int>(std::ceil(3 * sigma)) + 1;
  cv::Mat whole = view_of(image), exact;
  whole.convertTo(exact, CV_32FC3);  // on bytes OpenCV rounds the kernel to 8 bits
  cv::GaussianBlur(exact, exact, {side, side}, sigma, sigma, cv::BORDER_REFLECT_101);
  exact.convertTo(whole, CV_8UC3);
}

/// torchvision's GaussianBlur, with its usual largest σ and a kernel that reaches to 3σ.
Augmentation blur_augmentation() {
  return {.name = "blur",
          .meaning = "the image is blurred",
          .probability = 0.2,
          .settings = {{"sigma", 2, key::from_to(kLeastSigma, 20),
                        "the Gaussian's largest standard deviation, in pixels; the smallest is "
                        "0.3"}},
          .make = [](std::span<const double> values) {
            return [most = values[0]](const ImageView& image, AugmentationDraws& draws) {
              blur(image, draws.uniform(kLeastSigma, most));
            };
          }};
}

}  // namespace pfc
