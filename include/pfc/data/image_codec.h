#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <vector>

namespace pfc {

/// Side of an aligned face image, in pixels.
inline constexpr int kFaceSize = 112;

/// Interleaved 8-bit RGB, rows from the top.
struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;  ///< [height, width, 3]
};

/// Decodes a JPEG (libjpeg-turbo) or PNG (libpng) into `out` [height, width, 3], for an image that
/// must have exactly that size. Throws Error that says what is wrong with the bytes (the caller
/// knows their name): unknown format, truncated or corrupt data, another size; what `out` holds
/// then is undefined. Safe from several threads.
///
/// JPEG: the accurate inverse DCT and smooth chroma upsampling, as the field's tools decode; grey
/// becomes RGB; CMYK is refused. Whatever libjpeg-turbo warns of is an error here: a premature end,
/// a bad Huffman code, but also bytes left over before a marker, which is what a flipped bit often
/// leaves and cannot be told from harmless padding. PNG: palettes and grey become RGB, 16 bits
/// become 8, alpha is dropped, gamma is ignored; up to and including its end chunk it must be
/// whole.
void decode_image(std::span<const std::byte> encoded, int width, int height, std::uint8_t* out);
/// The same for any size up to 2^26 pixels.
RgbImage decode_image(std::span<const std::byte> encoded);

struct ImageSize {
  int width = 0;
  int height = 0;

  bool operator==(const ImageSize&) const = default;
};

/// What the header of a JPEG or PNG tells. Throws Error as decode_image does.
ImageSize image_size(std::span<const std::byte> encoded);
bool is_png(std::span<const std::byte> encoded);

/// PNG bytes of an image [height, width, 3]. Throws Error where `pixels` does not have the size it
/// says.
std::vector<std::byte> encode_png(const RgbImage& image);
/// JPEG bytes (4:2:0) of an image [height, width, 3], quality 1 to 100. Throws Error as encode_png
/// does.
std::vector<std::byte> encode_jpeg(const RgbImage& image, int quality);

}  // namespace pfc
