#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace pfc {

/// A block of the scores of all rows with all columns.
struct ScoreBlock {
  std::int64_t number = 0;  ///< among all blocks, wanted or not
  std::int64_t first_row = 0, rows = 0;
  std::int64_t first_column = 0, columns = 0;
  const float* scores = nullptr;  ///< [rows, columns]; null when `wanted` is called
  std::int64_t stride = 0;        ///< from one row to the next

  const float* row(std::int64_t i) const { return scores + i * stride; }
};

struct BlockShape {
  std::int64_t rows = 0, columns = 0;
};

/// How many blocks there are.
std::int64_t count_blocks(std::int64_t rows, std::int64_t columns, const BlockShape& shape);

/// Computes products of rows [n, d] and columns [m, d], float32, a block at a time, with as many
/// threads as LibTorch has. `visit` is called for the blocks that are `wanted`, from several
/// threads at once, each with its number. `done` is called from one thread at a time, with the
/// number of blocks, wanted or not, that were finished since its last call.
void for_each_score_block(const at::Tensor& rows, const at::Tensor& columns,
                          const std::function<bool(const ScoreBlock&)>& wanted,
                          const std::function<void(int thread, const ScoreBlock&)>& visit,
                          const std::function<void(std::int64_t blocks)>& done,
                          const BlockShape& shape);

}  // namespace pfc
