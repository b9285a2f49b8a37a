#include "pfc/data/image_codec.h"

#include <turbojpeg.h>

#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "data/png_reader.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::int64_t kMostPixels = std::int64_t{1} << 26;

std::string size_text(int width, int height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

bool looks_like_jpeg(std::span<const std::byte> encoded) {
  return encoded.size() >= 3 && encoded[0] == std::byte{0xff} && encoded[1] == std::byte{0xd8} &&
         encoded[2] == std::byte{0xff};
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

ImageSize read_jpeg_header(const Turbo& jpeg, std::span<const std::byte> encoded) {
  int width = 0, height = 0, subsampling = 0, colourspace = 0;
  if (tjDecompressHeader3(jpeg.get(), reinterpret_cast<const unsigned char*>(encoded.data()),
                          static_cast<unsigned long>(encoded.size()), &width, &height, &subsampling,
                          &colourspace) != 0) {
    fail("corrupt JPEG", jpeg);
  }
  if (width <= 0 || height <= 0) throw Error("a JPEG without an image");
  if (colourspace == TJCS_CMYK || colourspace == TJCS_YCCK) {
    throw Error("a CMYK JPEG, want RGB or grey");
  }
  return {width, height};
}

[[noreturn]] void fail_unknown(std::span<const std::byte> encoded) {
  throw Error(encoded.empty() ? "the image is empty" : "neither a JPEG nor a PNG image");
}

/// `place(width, height)` gives the memory that the pixels go to, or throws.
template <class Place>
void decode_jpeg(std::span<const std::byte> encoded, const Place& place) {
  // A new one for every image (a quarter of a microsecond): libjpeg keeps tables, and the state of
  // a header it gave up in, from one image to the next, so that what a damaged image becomes would
  // depend on the one before.
  const Turbo jpeg = owned(tjInitDecompress());
  const auto* bytes = reinterpret_cast<const unsigned char*>(encoded.data());
  const auto size = static_cast<unsigned long>(encoded.size());
  const auto [width, height] = read_jpeg_header(jpeg, encoded);
  // A progressive file may ask for thousands of passes over its pixels: LIMITSCANS stops at 500.
  constexpr int kFlags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  if (tjDecompress2(jpeg.get(), bytes, size, place(width, height), width, 0, height, TJPF_RGB,
                    kFlags) != 0) {
    fail("corrupt JPEG", jpeg);
  }
}

template <class Place>
void decode_any(std::span<const std::byte> encoded, const Place& place) {
  if (looks_like_jpeg(encoded)) {
    decode_jpeg(encoded, place);
  } else if (PngReader::recognises(encoded)) {
    PngReader png(encoded);
    png.read(place(png.width(), png.height()));
  } else {
    fail_unknown(encoded);
  }
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

ImageSize image_size(std::span<const std::byte> encoded) {
  if (looks_like_jpeg(encoded)) return read_jpeg_header(owned(tjInitDecompress()), encoded);
  if (!is_png(encoded)) fail_unknown(encoded);
  const PngReader png(encoded);
  return {png.width(), png.height()};
}

bool is_png(std::span<const std::byte> encoded) {
  return PngReader::recognises(encoded);
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

std::vector<std::byte> encode_jpeg(const RgbImage& image, int quality) {
  check_pixels(image);
  const Turbo jpeg = owned(tjInitCompress());
  constexpr int kSubsampling = TJSAMP_420;
  unsigned long size = tjBufSize(image.width, image.height, kSubsampling);
  std::vector<std::byte> encoded(size);
  auto* to = reinterpret_cast<unsigned char*>(encoded.data());
  if (tjCompress2(jpeg.get(), image.pixels.data(), image.width, 0, image.height, TJPF_RGB, &to,
                  &size, kSubsampling, quality, TJFLAG_NOREALLOC) != 0) {
    fail("cannot encode a JPEG", jpeg);
  }
  encoded.resize(size);
  return encoded;
}

}  // namespace pfc
