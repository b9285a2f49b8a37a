#pragma once

#include <cstddef>  // for std::byte
#include <optional>
#include <span>
#include <string>

#include "pfc/data/image_codec.h"

namespace pfc {

/// An SCRFD file as it is handed to OpenCV.
struct DetectorGraph {
  std::string onnx;  ///< its input's extents are numbers
  ImageSize input;
  int levels = 3;  ///< outputs of each kind: strides of 8, 16, 32, …

  int largest_stride() const { return 4 << levels; }
};

/// Reads `file`, whose name in messages is `name`. `size` is the input that is wanted; where it is
/// none, the file's own is taken, or 640 x 640 where the file leaves it open. Throws DataError that
/// says what the file is where it is no SCRFD network with key points, or takes no input of that
/// size.
DetectorGraph read_detector(std::span<const std::byte> file, const std::string& name,
                            std::optional<ImageSize> size);

}  // namespace pfc
