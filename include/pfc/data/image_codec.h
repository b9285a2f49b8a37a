#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
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

/// The formats that are read, recognised by their first bytes and not by a file's name.
enum class ImageFormat : std::uint8_t { kJpeg, kPng, kWebp, kBmp };
inline constexpr std::string_view kImageFormats = "JPEG, PNG, WebP or BMP";

/// Decodes an image (libjpeg-turbo, libpng, libwebp; BMP that is not compressed) into `out`
/// [height, width, 3], for an image that must have exactly that size. Throws Error that says what
/// is wrong with the bytes (the caller knows their name): unknown format, truncated or corrupt
/// data, another size; what `out` holds then is undefined. Safe from several threads.
///
/// Only what loses pixels is an error: a bad code, an end before the last pixel. Bytes before or
/// behind a JPEG's end marker, or no end marker, lose none, nor does a PNG without its end chunk.
/// Pixels are those of the field's tools: the accurate inverse DCT and smooth chroma upsampling;
/// CMYK and YCCK inverted, as Adobe writes them; grey and palettes become RGB, 16 bits the higher
/// 8; alpha is dropped, gamma is ignored. An image is turned as its EXIF says, as OpenCV does (in
/// PNG where it comes before the pixels).
void decode_image(std::span<const std::byte> encoded, int width, int height, std::uint8_t* out);
/// The same for any size up to 2^26 pixels.
RgbImage decode_image(std::span<const std::byte> encoded);

struct ImageSize {
  int width = 0;
  int height = 0;

  bool operator==(const ImageSize&) const = default;
};

/// The size that decode_image gives, as the header tells. Throws Error as decode_image does.
ImageSize image_size(std::span<const std::byte> encoded);
/// None for what is no image, or one of another format.
std::optional<ImageFormat> image_format(std::span<const std::byte> encoded);
/// "JPEG".
std::string_view name_of(ImageFormat format);
/// What an image's file name ends in: ".jpg", also for what is none.
std::string_view ending_of(std::span<const std::byte> encoded);

/// PNG bytes of an image [height, width, 3]. Throws Error where `pixels` does not have the size it
/// says.
std::vector<std::byte> encode_png(const RgbImage& image);
/// JPEG bytes (4:2:0) of an image [height, width, 3], quality 1 to 100. Throws Error as encode_png
/// does.
std::vector<std::byte> encode_jpeg(const RgbImage& image, int quality);

}  // namespace pfc
