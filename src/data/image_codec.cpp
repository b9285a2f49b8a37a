#include "pfc/data/image_codec.h"

#include <turbojpeg.h>

#include <array>
#include <memory>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string>
#include <string_view>

#include "data/bmp_reader.h"
#include "data/exif.h"
#include "data/jpeg_reader.h"
#include "data/png_reader.h"
#include "data/webp_reader.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::int64_t kMostPixels = std::int64_t{1} << 26;

std::string size_text(int width, int height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Turbo = std::unique_ptr<void, Destroy>;

Turbo owned(tjhandle handle) {
  if (handle == nullptr) throw std::bad_alloc();
  return Turbo(handle);
}

[[noreturn]] void fail(std::string_view what, const Turbo& turbo) {
  throw Error(std::string(what) + ": " + tjGetErrorStr2(turbo.get()));
}

[[noreturn]] void fail_unknown(std::span<const std::byte> encoded) {
  if (encoded.empty()) throw Error("the image is empty");
  const FileKind found = recognise_file(encoded);
  throw Error("no image that is read, found " + found.words + ", want " +
              std::string(kImageFormats) + (found.advice.empty() ? "" : "; " + found.advice));
}

/// Calls `visit(reader)` with the reader of the image's format.
template <class Visit>
auto with_reader(std::span<const std::byte> encoded, const Visit& visit) {
  const auto format = image_format(encoded);
  if (!format) fail_unknown(encoded);
  switch (*format) {
    case ImageFormat::kPng:
      return visit(PngReader(encoded));
    case ImageFormat::kWebp:
      return visit(WebpReader(encoded));
    case ImageFormat::kBmp:
      return visit(BmpReader(encoded));
    case ImageFormat::kJpeg:
      break;
  }
  // A new reader for every image. libjpeg keeps tables, and the state of a header that it gave up,
  // from one image to the next; the result for a damaged image would depend on the image before it.
  return visit(JpegReader(encoded));
}

/// `place(width, height)` returns the memory for the pixels, or throws.
template <class Place>
void decode_any(std::span<const std::byte> encoded, const Place& place) {
  with_reader(encoded, [&](auto&& reader) {
    const ImageSize size{reader.width(), reader.height()};
    const int orientation = reader.orientation();
    const ImageSize turned = upright(size, orientation);
    std::uint8_t* out = place(turned.width, turned.height);
    if (orientation == 1) return reader.read(out);
    std::vector<std::uint8_t> pixels(3 * static_cast<std::size_t>(size.width) *
                                     static_cast<std::size_t>(size.height));
    reader.read(pixels.data());
    turn_upright(pixels, size, orientation, out);
  });
}

void check_pixels(const RgbImage& image) {
  const auto area = static_cast<std::int64_t>(image.width) * image.height;
  if (image.width <= 0 || image.height <= 0 || area > kMostPixels ||
      image.pixels.size() != 3 * static_cast<std::size_t>(area)) {
    throw Error("an image of " + size_text(image.width, image.height) + " cannot have " +
                counted(image.pixels.size(), "byte") + " of pixels");
  }
}

}  // namespace

void decode_image(std::span<const std::byte> encoded, int width, int height, std::uint8_t* out) {
  decode_any(encoded, [&](int found_width, int found_height) {
    if (found_width != width || found_height != height) {
      throw Error("the image is " + size_text(found_width, found_height) + " pixels, want " +
                  size_text(width, height));
    }
    return out;
  });
}

RgbImage decode_image(std::span<const std::byte> encoded) {
  RgbImage image;
  decode_any(encoded, [&](int width, int height) {
    const auto area = static_cast<std::int64_t>(width) * height;
    if (area > kMostPixels) {
      throw Error("the image is " + size_text(width, height) + " pixels, want at most " +
                  std::to_string(kMostPixels) + " in all");
    }
    image.width = width;
    image.height = height;
    image.pixels.resize(3 * static_cast<std::size_t>(area));
    return image.pixels.data();
  });
  return image;
}

void decode_square(std::span<const std::byte> encoded, std::uint8_t* out) {
  RgbImage image = decode_image(encoded);
  if (image.width != image.height) {
    throw Error("the image is " + size_text(image.width, image.height) + " pixels, want " +
                size_text(kFaceSize, kFaceSize) + " or another square");
  }
  const cv::Mat from(image.height, image.width, CV_8UC3, image.pixels.data());
  cv::Mat to(kFaceSize, kFaceSize, CV_8UC3, out);
  cv::resize(from, to, to.size(), 0, 0, cv::INTER_CUBIC);  // a copy if it already has the size
}

ImageSize image_size(std::span<const std::byte> encoded) {
  return with_reader(encoded, [](const auto& reader) {
    return upright({reader.width(), reader.height()}, reader.orientation());
  });
}

std::optional<ImageFormat> image_format(std::span<const std::byte> encoded) {
  if (JpegReader::recognises(encoded)) return ImageFormat::kJpeg;
  if (PngReader::recognises(encoded)) return ImageFormat::kPng;
  if (WebpReader::recognises(encoded)) return ImageFormat::kWebp;
  if (BmpReader::recognises(encoded)) return ImageFormat::kBmp;
  return std::nullopt;
}

std::string_view name_of(ImageFormat format) {
  constexpr std::array<std::string_view, 4> kNames = {"JPEG", "PNG", "WebP", "BMP"};
  return kNames[static_cast<std::size_t>(format)];
}

std::string_view ending_of(std::span<const std::byte> encoded) {
  constexpr std::array<std::string_view, 4> kEndings = {".jpg", ".png", ".webp", ".bmp"};
  return kEndings[static_cast<std::size_t>(image_format(encoded).value_or(ImageFormat::kJpeg))];
}

std::vector<std::byte> encode_png(const RgbImage& image) {
  check_pixels(image);
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
  std::vector<std::byte> encoded(size);
  if (png_image_write_to_memory(&png, encoded.data(), &size, 0, image.pixels.data(), 0, nullptr) ==
      0) {
    throw Error("cannot encode a PNG: " + std::string(png.message));
  }
  encoded.resize(size);
  return encoded;
}

std::vector<std::byte> encode_jpeg(const RgbImage& image, int quality, JpegTransform transform) {
  check_pixels(image);
  const Turbo jpeg = owned(tjInitCompress());
  constexpr int kSubsampling = TJSAMP_420;
  unsigned long size = tjBufSize(image.width, image.height, kSubsampling);
  std::vector<std::byte> encoded(size);
  auto* to = reinterpret_cast<unsigned char*>(encoded.data());
  if (tjCompress2(jpeg.get(), image.pixels.data(), image.width, 0, image.height, TJPF_RGB, &to,
                  &size, kSubsampling, quality,
                  TJFLAG_NOREALLOC |
                      (transform == JpegTransform::kAccurate ? TJFLAG_ACCURATEDCT : 0)) != 0) {
    fail("cannot encode a JPEG", jpeg);
  }
  encoded.resize(size);
  return encoded;
}

}  // namespace pfc
