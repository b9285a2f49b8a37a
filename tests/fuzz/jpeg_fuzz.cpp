#include <cstdint>
#include <cstdlib>

#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

// JPEG and PNG through our decoder, which must give the same pixels whenever it is asked.
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
