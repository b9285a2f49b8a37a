#include <cstddef>
#include <cstdint>
#include <string_view>

#include "pfc/base/error.h"
#include "pfc/data/distributed_set.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto set =
        pfc::parse_distributed_set({reinterpret_cast<const char*>(data), size}, "fuzz");
    for (const pfc::DistributedFile& part : set.parts)
      if (part.name.empty() || part.name.find('/') != part.name.npos) __builtin_trap();
  } catch (const pfc::Error&) {
  }
  return 0;
}
