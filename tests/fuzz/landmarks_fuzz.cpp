#include <cstddef>
#include <cstdint>
#include <span>

#include "pfc/align/landmark_file.h"
#include "pfc/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file = pfc::LandmarkFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
    if (file.size() < 1) __builtin_trap();
    (void)file.find("a.jpg");
    if (const auto found = file.find("a")) pfc::require_usable(*found, {100, 100});
  } catch (const pfc::Error&) {
  }
  return 0;
}
