#include "eval/duplicates.h"

#include <algorithm>

namespace pfc {

std::vector<DuplicateRow> duplicate_rows(const at::Tensor& rows, double least) {
  constexpr std::int64_t kBlock = 1024;
  std::vector<DuplicateRow> found;
  const std::int64_t n = rows.size(0);
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const at::Tensor block = rows.narrow(0, first, std::min(kBlock, n - first));
    std::vector<bool> done(static_cast<std::size_t>(block.size(0)));
    for (std::int64_t other = 0; other <= first; other += kBlock) {
      const at::Tensor columns = rows.narrow(0, other, std::min(kBlock, n - other));
      const at::Tensor cosines = block.matmul(columns.t());
      const auto values = cosines.accessor<float, 2>();
      for (std::int64_t i = 0; i < block.size(0); ++i) {
        if (done[static_cast<std::size_t>(i)]) continue;
        const std::int64_t earlier = std::min(columns.size(0), first + i - other);
        for (std::int64_t j = 0; j < earlier; ++j) {
          if (values[i][j] <= least) continue;
          found.push_back({first + i, other + j, values[i][j]});
          done[static_cast<std::size_t>(i)] = true;
          break;
        }
      }
    }
  }
  std::ranges::sort(found, {}, &DuplicateRow::row);
  return found;
}

}  // namespace pfc
