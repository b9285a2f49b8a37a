// The first byte chooses what the others are: a list of one to three components, or a feature.
#include <cstddef>
#include <cstdint>
#include <span>

#include "pfc/base/error.h"
#include "pfc/eval/megaface_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  const int kind = data[0] % 4;
  try {
    if (kind == 0) {
      if (pfc::parse_megaface_feature(bytes, "fuzz").empty()) __builtin_trap();
    } else {
      for (const std::string& name : pfc::parse_megaface_list(bytes, "fuzz", kind))
        if (name.empty()) __builtin_trap();
    }
  } catch (const pfc::Error&) {
  }
  return 0;
}
