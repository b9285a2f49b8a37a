#include <cstddef>
#include <cstdint>
#include <span>

#include "data/stream/tar_source.h"
#include "pfc/base/error.h"
#include "pfc/data/record_io.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  pfc::TarSource source(
      "fuzz.tar",
      [&](std::size_t i) -> std::optional<pfc::TarReader> {
        if (i > 0) return std::nullopt;
        return pfc::TarReader::parse(bytes, "fuzz.tar");
      },
      1);
  try {
    for (pfc::Face face; source.next(face);)
      if (face.identity < 0 || face.identity >= pfc::kMostIdentities) __builtin_trap();
  } catch (const pfc::Error&) {
  }
  return 0;
}
