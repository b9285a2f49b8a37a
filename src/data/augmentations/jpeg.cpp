#include <cstddef>

#include "data/augmentations/built_in.h"
#include "data/augmentations/changes.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

constexpr int kBestQuality = 95;

}  // namespace

void jpeg_again(const ImageView& image, int quality) {
  const auto bytes = std::ptrdiff_t{3} * image.width * image.height;
  const RgbImage copy{image.width, image.height, {image.pixels, image.pixels + bytes}};
  try {
    decode_image(encode_jpeg(copy, quality, JpegTransform::kAccurate), image.width, image.height,
                 image.pixels);
  } catch (const Error&) {  // too large
  }
}

Augmentation jpeg_augmentation() {
  return {.name = "jpeg",
          .meaning = "the image is compressed as JPEG once more",
          .probability = 0.2,
          .settings = {{"quality", 30, key::from_to(1, kBestQuality),
                        "the lowest quality of JPEG; the highest is 95"}},
          .make = [](std::span<const double> values) {
            return [least = static_cast<int>(values[0])](const ImageView& image,
                                                         AugmentationDraws& draws) {
              jpeg_again(image, least + static_cast<int>(draws.below(kBestQuality - least + 1)));
            };
          }};
}

}  // namespace pfc
