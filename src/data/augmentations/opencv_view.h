#pragma once

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "pfc/data/augmentation.h"

namespace pfc {

/// The same pixels for OpenCV.
inline cv::Mat view_of(const ImageView& image) {
  return {image.height, image.width, CV_8UC3, image.pixels};
}

}  // namespace pfc
