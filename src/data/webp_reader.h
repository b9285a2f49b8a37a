#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>

#include "pfc/data/image_codec.h"

namespace pfc {

/// Decodes one WebP in memory to 8-bit RGB. Every failure throws Error.
class WebpReader {
 public:
  static bool recognises(std::span<const std::byte> encoded);

  /// Reads everything before the pixels. `encoded` must outlive the reader.
  explicit WebpReader(std::span<const std::byte> encoded);

  int width() const { return size_.width; }
  int height() const { return size_.height; }
  /// As EXIF says it.
  int orientation() const;
  /// Reads the pixels into `out` [height, width, 3].
  void read(std::uint8_t* out) const;

 private:
  std::span<const std::byte> encoded_;
  ImageSize size_;
};

}  // namespace pfc
