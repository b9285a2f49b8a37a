#include "eval/score_blocks.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/ceil_divide.h"

namespace pfc {

std::int64_t count_blocks(std::int64_t rows, std::int64_t columns, const BlockShape& shape) {
  return ceil_divide(rows, shape.rows) * ceil_divide(columns, shape.columns);
}

void for_each_score_block(const at::Tensor& rows, const at::Tensor& columns,
                          const std::function<bool(const ScoreBlock&)>& wanted,
                          const std::function<void(int thread, const ScoreBlock&)>& visit,
                          const std::function<void(std::int64_t blocks)>& done,
                          const BlockShape& shape) {
  constexpr std::int64_t kBlocksAtOnce = 16;
  const std::int64_t n = rows.size(0), m = columns.size(0);
  const std::int64_t block_columns = ceil_divide(m, shape.columns);
  const std::int64_t blocks = count_blocks(n, m, shape);
  std::atomic<std::int64_t> next = 0;
  std::mutex mutex;

  const auto work = [&](int thread) {
    const c10::InferenceMode no_gradients;
    const at::Tensor buffer = at::empty({shape.rows * shape.columns}, at::kFloat);
    for (std::int64_t begin; (begin = next.fetch_add(kBlocksAtOnce)) < blocks;) {
      const std::int64_t end = std::min(begin + kBlocksAtOnce, blocks);
      for (std::int64_t number = begin; number < end; ++number) {
        ScoreBlock block{.number = number,
                         .first_row = number / block_columns * shape.rows,
                         .first_column = number % block_columns * shape.columns};
        block.rows = std::min(shape.rows, n - block.first_row);
        block.columns = std::min(shape.columns, m - block.first_column);
        if (!wanted(block)) continue;
        at::Tensor scores =
            buffer.narrow(0, 0, block.rows * block.columns).view({block.rows, block.columns});
        at::mm_out(scores, rows.narrow(0, block.first_row, block.rows),
                   columns.narrow(0, block.first_column, block.columns).t());
        block.scores = scores.const_data_ptr<float>();
        block.stride = block.columns;
        visit(thread, block);
      }
      const std::lock_guard lock(mutex);
      done(end - begin);
    }
  };
  const int threads = at::get_num_threads();
  at::parallel_for(0, threads, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t thread = first; thread < last; ++thread) work(static_cast<int>(thread));
  });
}

}  // namespace pfc
