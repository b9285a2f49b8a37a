#include <cstdint>
#include <cstdlib>

#include "pfc/base/error.h"
#include "pfc/data/verification_set.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto set = pfc::VerificationSet::parse("fuzz.bin", std::as_bytes(std::span(data, size)));
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < 2 * set.pairs(); ++i) {
      for (const std::byte b : set.image(i)) sum += std::to_integer<std::uint64_t>(b);
    }
    if (sum > 255 * size * static_cast<std::uint64_t>(2 * set.pairs())) std::abort();
  } catch (const pfc::Error&) {
  }
  return 0;
}
