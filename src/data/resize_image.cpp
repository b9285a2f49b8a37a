#include "pfc/data/resize_image.h"

#include <string>

#include "data/augmentations/changes.h"
#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

RgbImage resized(RgbImage& image, int size) {
  RgbImage result{size, size, {}};
  result.pixels.resize(std::size_t{3} * static_cast<std::size_t>(size) *
                       static_cast<std::size_t>(size));
  resample({image.pixels.data(), image.width, image.height}, {result.pixels.data(), size, size},
           size < image.width ? Resampling::kArea : Resampling::kCubic);
  return result;
}

}  // namespace

std::vector<std::byte> resize_image(std::span<const std::byte> encoded,
                                    const ResizeOptions& options) {
  RgbImage image = decode_image(encoded);
  const int side = image.width;
  if (side != image.height) {
    throw Error("the image is " + std::to_string(side) + " x " + std::to_string(image.height) +
                " pixels, want a square");
  }
  image = resized(image, options.size);
  if (options.back) image = resized(image, side);
  return options.png ? encode_png(image) : encode_jpeg(image, options.quality);
}

}  // namespace pfc
