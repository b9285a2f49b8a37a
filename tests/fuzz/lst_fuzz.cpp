#include <cstddef>
#include <cstdint>
#include <span>

#include "data/stream/lst_source.h"
#include "pfc/base/error.h"
#include "pfc/data/record_io.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    for (const pfc::LstEntry& entry :
         pfc::parse_lst(std::as_bytes(std::span(data, size)), "fuzz").entries) {
      const bool within = entry.path_size > 0 && entry.path_begin + entry.path_size <= size;
      if (!within || entry.identity < 0 || entry.identity >= pfc::kMostIdentities) __builtin_trap();
    }
  } catch (const pfc::Error&) {
  }
  return 0;
}
