#include <cstddef>
#include <cstdint>
#include <string_view>

#include "pfc/base/error.h"
#include "train/class_map.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const pfc::ClassIdentities sets[] = {
      {.classes = 100},
      {.classes = 4, .numbers = {3, 7, 1, 40}, .below = 50},
      {.classes = 3, .names = {"a", "b c", "d, e"}},
  };
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& here : sets) {
    for (const auto& there : sets) {
      try {
        const pfc::ClassMap map = pfc::parse_class_map(text, "fuzz", here, there);
        if (std::ssize(map.there) != here.classes) __builtin_trap();
        for (const std::int64_t other : map.there)
          if (other < -1 || other >= there.classes) __builtin_trap();
      } catch (const pfc::Error&) {
      }
    }
  }
  return 0;
}
