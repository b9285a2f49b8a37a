#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace pfc {

struct DuplicateRow {
  std::int64_t row = 0, of = 0;
  double cosine = 0;
};

/// The rows of [n, d], of unit length, whose cosine to an earlier row is above `least`, each with
/// the first such row. All rows are compared with all, one block of cosines at a time.
std::vector<DuplicateRow> duplicate_rows(const at::Tensor& rows, double least);

}  // namespace pfc
