#include <cstddef>
#include <cstdint>
#include <span>

#include "pfc/base/error.h"
#include "pfc/data/pairs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    for (const pfc::ImagePair& pair :
         pfc::parse_pairs(std::as_bytes(std::span(data, size)), "fuzz"))
      if (pair.first.empty() || pair.second.empty() || pair.line < 1) __builtin_trap();
  } catch (const pfc::Error&) {
  }
  return 0;
}
