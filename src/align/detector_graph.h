#pragma once

#include <cstddef>  // for std::byte
#include <optional>
#include <span>
#include <string>

#include "pfc/data/image_codec.h"

namespace pfc {

/// An SCRFD file in the form that OpenCV gets.
struct DetectorGraph {
  std::string onnx;  ///< all extents of its input are numbers
  ImageSize input;
  int levels = 3;  ///< outputs of each kind: strides of 8, 16, 32, …

  int largest_stride() const { return 4 << levels; }
};

/// Reads `file`; `name` stands for it in messages. `size` is the wanted input. Without it the
/// file's own is taken, or 640 x 640 if the file leaves it open. Throws DataError that says what
/// the file is if it is not an SCRFD network with key points, or does not take an input of that
/// size.
DetectorGraph read_detector(std::span<const std::byte> file, const std::string& name,
                            std::optional<ImageSize> size);

}  // namespace pfc
