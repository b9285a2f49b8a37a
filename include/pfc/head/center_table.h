#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "pfc/head/class_shard.h"

namespace pfc {

/// SGD with momentum and decay, as torch.optim.SGD defines it: v ← μv + dw + λw, w ← w − ηv. It
/// touches sampled rows only: the momentum and the decay of a row wait until the row is sampled
/// again.
struct CenterUpdate {
  float lr;
  float momentum;
  float weight_decay;
};

/// One rank's class centres and their optimizer state, float32 in host memory: 2·dim·4 bytes a row,
/// reserved once. No gradient of the table ever exists: rows are gathered for a tile and updated in
/// place.
class CenterTable {
 public:
  /// Centres start as N(0, 0.01²), a pure function of (seed, global class, component); momentum
  /// starts as 0. Throws Error with the bytes wanted where the memory cannot be reserved.
  CenterTable(const ClassShard& shard, std::int64_t dim, std::uint64_t seed);
  ~CenterTable();
  CenterTable(const CenterTable&) = delete;
  CenterTable& operator=(const CenterTable&) = delete;

  const ClassShard& shard() const { return shard_; }
  std::int64_t dim() const { return dim_; }

  /// unit [n, dim] = the rows / ‖row‖, inverse_norm [n] = 1 / ‖row‖.
  void gather_normalize(std::span<const LocalRow> rows, const at::Tensor& unit,
                        const at::Tensor& inverse_norm) const;
  /// d_unit [n, dim] is the loss's gradient by the normalised rows, inverse_norm [n] as gathered.
  /// Rows must differ.
  void update(std::span<const LocalRow> rows, const at::Tensor& d_unit,
              const at::Tensor& inverse_norm, const CenterUpdate& update);

  /// [rows, dim], the table itself, not a copy.
  at::Tensor weights() const { return weights_; }
  at::Tensor momentum() const { return momentum_; }

 private:
  class Memory;

  ClassShard shard_;
  std::int64_t dim_;
  std::unique_ptr<Memory> memory_;
  at::Tensor weights_, momentum_;
};

/// One rank's centres as `.safetensors`: `centers` [rows, dim] float32, with the range of global classes that they are
/// as metadata. Streamed, without a copy of the table.
void save_centers(const CenterTable& table, const std::filesystem::path& path);

}  // namespace pfc
