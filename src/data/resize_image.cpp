#include "pfc/data/resize_image.h"

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

RgbImage resized(RgbImage& image, int size) {
  RgbImage result{size, size, {}};
  result.pixels.resize(std::size_t{3} * static_cast<std::size_t>(size) *
                       static_cast<std::size_t>(size));
  const cv::Mat from(image.height, image.width, CV_8UC3, image.pixels.data());
  cv::Mat to(size, size, CV_8UC3, result.pixels.data());
  cv::resize(from, to, to.size(), 0, 0, size < image.width ? cv::INTER_AREA : cv::INTER_CUBIC);
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
