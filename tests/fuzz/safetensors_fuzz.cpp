#include <cstddef>
#include <cstdint>

#include "pfc/base/error.h"
#include "pfc/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    for (const auto& tensor : pfc::parse_safetensors(file, "fuzz").tensors) {
      if (tensor.bytes.data() < file.data() ||
          tensor.bytes.data() + tensor.bytes.size() > file.data() + file.size()) {
        __builtin_trap();
      }
    }
  } catch (const pfc::Error&) {
  }
  return 0;
}
