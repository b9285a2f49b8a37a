#include "data/augmentations/built_in.h"
#include "data/augmentations/opencv_view.h"
#include "data/augmentations/random_box.h"

namespace pfc {

void enlarge_box(const ImageView& image, const ImageBox& box) {
  cv::Mat whole = view_of(image);
  const cv::Mat part = whole(cv::Rect(box.left, box.top, box.width, box.height)).clone();
  cv::resize(part, whole, whole.size(), 0, 0, cv::INTER_LINEAR);
}

/// torchvision's RandomResizedCrop, with the area that face recognisers are trained with (CVLface).
Augmentation resized_crop_augmentation() {
  return {
      .name = "resized_crop",
      .meaning = "a box of the image is enlarged to the whole",
      .probability = 0.2,
      .settings = {{"area", 0.2, key::above_to(0, 1), "the smallest box, as a share of the image"},
                   {"aspect", 4.0 / 3, key::from_to(1, 10),
                    "how much wider than high, or higher than wide, a box may be"}},
      .make = [](std::span<const double> values) {
        return [limits = BoxLimits{values[0], 1, values[1]}](const ImageView& image,
                                                             AugmentationDraws& draws) {
          enlarge_box(image, draw_box_or_middle(image, limits, draws));
        };
      }};
}

}  // namespace pfc
