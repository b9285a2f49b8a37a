#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pfc {

/// Interleaved 8-bit RGB, rows from the top.
struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;  ///< [height, width, 3]
};

/// Decodes JPEG (libjpeg-turbo) and PNG (libpng; alpha dropped) in memory. One decoder a thread.
class ImageDecoder {
 public:
  ImageDecoder();
  ~ImageDecoder();
  ImageDecoder(ImageDecoder&&) noexcept;
  ImageDecoder& operator=(ImageDecoder&&) noexcept;

  /// Into `out` [height, width, 3], for an image that must have exactly that size. Throws Error that says what is
  /// wrong with the bytes (the caller knows their name): unknown format, truncated or corrupt data, another size.
  void decode(std::span<const std::byte> encoded, int width, int height, std::uint8_t* out);
  /// Any size up to 2^26 pixels.
  RgbImage decode(std::span<const std::byte> encoded);

 private:
  void* jpeg_;
};

/// PNG bytes of an image [height, width, 3].
std::vector<std::byte> encode_png(const RgbImage& image);
/// JPEG bytes of an image [height, width, 3], quality 1 to 100.
std::vector<std::byte> encode_jpeg(const RgbImage& image, int quality);

}  // namespace pfc
