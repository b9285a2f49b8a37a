#include <cstddef>
#include <cstdint>
#include <string_view>

#include "pfc/base/error.h"
#include "train/class_map.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::int64_t kClasses = 100, kOthers = 50;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto map = pfc::parse_class_map(text, "fuzz", kClasses, kOthers);
    if (std::ssize(map) != kClasses) __builtin_trap();
    for (const std::int64_t other : map)
      if (other < -1 || other >= kOthers) __builtin_trap();
  } catch (const pfc::Error&) {
  }
  return 0;
}
