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

/// Interleaved 8-bit RGB; the first row is the top one.
struct RgbImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;  ///< [height, width, 3]
};

/// The formats that are read. They are recognised by their first bytes, not by the file's name.
enum class ImageFormat : std::uint8_t { kJpeg, kPng, kWebp, kBmp };
inline constexpr std::string_view kImageFormats = "JPEG, PNG, WebP or BMP";

/// Decodes an image (libjpeg-turbo, libpng, libwebp; uncompressed BMP) into `out` [height, width,
/// 3]. The image must have exactly that size. Throws Error that says what is wrong with the bytes
/// (the caller knows their name): unknown format, truncated or corrupt data, another size. After an
/// error the contents of `out` are undefined. Safe from several threads.
///
/// Only a loss of pixels is an error: a bad code, or an end before the last pixel. Extra bytes
/// around a JPEG's end marker, a missing end marker, and a PNG without its end chunk lose none.
///
/// Pixels are those of OpenCV and Pillow: the accurate inverse DCT and smooth chroma upsampling.
/// CMYK and YCCK are inverted, as Adobe writes them. Grey and palette images become RGB; of 16 bits
/// the higher 8 are taken; alpha is dropped and gamma ignored. An image is turned as its EXIF says,
/// as OpenCV does (in a PNG only if EXIF comes before the pixels).
void decode_image(std::span<const std::byte> encoded, int width, int height, std::uint8_t* out);
/// The same for any size up to 2^26 pixels.
RgbImage decode_image(std::span<const std::byte> encoded);
/// Decodes a face of any size into `out` [112, 112, 3]: a square that is resized if it has another
/// size (bicubic, as InsightFace resizes verification sets). Throws Error as decode_image does, and
/// if the image is no square.
void decode_square(std::span<const std::byte> encoded, std::uint8_t* out);

struct ImageSize {
  int width = 0;
  int height = 0;

  bool operator==(const ImageSize&) const = default;
};

/// The size that decode_image gives, read from the header. Throws Error as decode_image does.
ImageSize image_size(std::span<const std::byte> encoded);
/// None if the bytes are not an image, or an image of another format.
std::optional<ImageFormat> image_format(std::span<const std::byte> encoded);
/// "JPEG".
std::string_view name_of(ImageFormat format);
/// The ending of an image's file name: ".jpg" and so on; ".jpg" also if the bytes are not an image.
std::string_view ending_of(std::span<const std::byte> encoded);

/// Encodes an image [height, width, 3] as PNG. Throws Error if `pixels` has another size than width
/// and height say.
std::vector<std::byte> encode_png(const RgbImage& image);
/// A JPEG's cosine transform: the fast one, which rounds more below quality 96, or the one with
/// which Pillow and OpenCV write.
enum class JpegTransform { kFast, kAccurate };
/// Encodes an image [height, width, 3] as JPEG (4:2:0), quality 1 to 100. Throws Error as
/// encode_png does.
std::vector<std::byte> encode_jpeg(const RgbImage& image, int quality,
                                   JpegTransform transform = JpegTransform::kFast);

}  // namespace pfc
