#include <cstddef>
#include <cstdint>

#include "pfc/base/error.h"
#include "pfc/export/onnx_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    pfc::parse_onnx(std::as_bytes(std::span(data, size)), "fuzz");
  } catch (const pfc::Error&) {
  }
  return 0;
}
