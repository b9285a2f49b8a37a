#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/formats/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const pfc::NpyMatrix matrix(std::as_bytes(std::span(data, size)), "fuzz");
    std::vector<float> row(static_cast<std::size_t>(matrix.columns()));
    for (const std::int64_t i : {std::int64_t{0}, matrix.rows() - 1})
      if (matrix.rows() > 0) matrix.read_row(i, row);
  } catch (const pfc::Error&) {
  }
  return 0;
}
