#include <cstddef>
#include <cstdint>
#include <span>

#include "pfc/align/landmark_file.h"
#include "pfc/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file = pfc::LandmarkFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
    if (file.size() < 1 || file.reading_text().empty()) __builtin_trap();
    if (!file.contains(file.example())) __builtin_trap();
    (void)file.find("a.jpg", {100, 100});
    if (const auto found = file.find(file.example(), {100, 100}))
      pfc::require_usable(*found, {100, 100});
  } catch (const pfc::Error&) {
  }
  return 0;
}
