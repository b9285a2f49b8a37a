// Bytes as a JPEG or a PNG, which must give the same pixels whenever they are decoded.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto encoded = std::as_bytes(std::span(data, size));
  pfc::RgbImage image;
  try {
    image = pfc::decode_image(encoded);
  } catch (const pfc::Error&) {
    return 0;
  }
  std::vector<std::uint8_t> pixels(image.pixels.size());
  pfc::decode_image(encoded, image.width, image.height, pixels.data());
  if (pixels != image.pixels) std::abort();
  return 0;
}

/// Starts from whole images, so that mutations reach what is behind their signatures.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned random) {
  if (size < 8) {
    pfc::RgbImage image{17, 9, std::vector<std::uint8_t>(17 * 9 * 3)};
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      image.pixels[i] = static_cast<std::uint8_t>(i * i / 7);
    }
    const auto seed = random % 2 == 0 ? pfc::encode_jpeg(image, 75) : pfc::encode_png(image);
    if (seed.size() <= limit) {
      std::memcpy(data, seed.data(), seed.size());
      size = seed.size();
    }
  }
  return LLVMFuzzerMutate(data, size, limit);
}
