// The first byte chooses the list that the other bytes are. The two lists of images are separated
// by a zero byte.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "pfc/base/error.h"
#include "pfc/eval/ijb_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  try {
    switch (data[0] % 3) {
      case 0: {
        const auto cut = std::ranges::find(bytes, std::byte{}) - bytes.begin();
        const auto first = bytes.first(static_cast<std::size_t>(cut));
        const auto images = pfc::parse_ijb_images(first, "a", bytes.subspan(first.size()), "b");
        if (images.names.size() != images.templates.size()) __builtin_trap();
        break;
      }
      case 1: {
        const auto pairs = pfc::parse_ijb_pairs(bytes, "fuzz");
        if (pairs.same.empty() || pairs.first.size() != pairs.same.size()) __builtin_trap();
        break;
      }
      default:
        if (pfc::parse_ijb_subjects(bytes, "fuzz").templates.empty()) __builtin_trap();
    }
  } catch (const pfc::Error&) {
  }
  return 0;
}
