#pragma once

#include <cstddef>  // for std::byte
#include <span>
#include <vector>

namespace pfc {

struct ResizeOptions {
  int size = 112;     ///< side, in pixels
  bool back = false;  ///< and back to the size that the image had: what is seen of it stays small
  bool png = false;   ///< otherwise JPEG
  int quality = 95;   ///< of JPEG, 1 to 100
};

/// An encoded square image at another size: the mean of what a pixel covers where it gets smaller
/// (OpenCV's INTER_AREA), bicubic where it gets larger. Throws Error if the image does not decode
/// or is no square.
std::vector<std::byte> resize_image(std::span<const std::byte> encoded,
                                    const ResizeOptions& options);

}  // namespace pfc
