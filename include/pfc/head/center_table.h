#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "pfc/head/class_shard.h"

namespace pfc {

/// What updates class centres: torch.optim's SGD with momentum, or its AdamW with β = (0.9, 0.999)
/// and ε = 1e-8. It touches sampled rows only: what a row goes through is exactly what that
/// optimizer would do to it, had there been no other steps than those that sampled it.
struct CenterOptimizer {
  enum class Kind { kSgd, kAdamW };

  Kind kind = Kind::kSgd;
  double momentum = 0.9;       ///< of SGD
  double weight_decay = 5e-4;  ///< of both; AdamW's is decoupled
};

/// One rank's class centres and their optimizer state, float32 in host memory, reserved once:
/// 2·dim·4 bytes a row for SGD, 3·dim·4 + 4 for AdamW. No gradient of the table ever exists: rows
/// are gathered for a tile and updated in place.
class CenterTable {
 public:
  /// Centres start as N(0, 0.01²), a pure function of (seed, global class, component); the
  /// optimizer's state starts as 0. Throws Error with the bytes wanted where the memory cannot be
  /// reserved.
  CenterTable(const ClassShard& shard, std::int64_t dim, const CenterOptimizer& optimizer,
              std::uint64_t seed);
  ~CenterTable();
  CenterTable(const CenterTable&) = delete;
  CenterTable& operator=(const CenterTable&) = delete;

  const ClassShard& shard() const { return shard_; }
  std::int64_t dim() const { return dim_; }
  /// Reserved for weights and optimizer state.
  std::int64_t bytes() const;

  /// unit [n, dim] = the rows / ‖row‖, inverse_norm [n] = 1 / ‖row‖.
  void gather_normalize(std::span<const LocalRow> rows, const at::Tensor& unit,
                        const at::Tensor& inverse_norm) const;
  /// d_unit [n, dim] is the loss's gradient by the normalised rows, inverse_norm [n] as gathered.
  /// Rows must differ.
  void update(std::span<const LocalRow> rows, const at::Tensor& d_unit,
              const at::Tensor& inverse_norm, double lr);

  /// [rows, dim], the table itself, not a copy.
  at::Tensor weights() const { return weights_; }
  /// [rows, dim], likewise: SGD's momentum, AdamW's mean of gradients.
  at::Tensor momentum() const { return momentum_; }
  /// [rows, dim], likewise: AdamW's mean of squared gradients; undefined for SGD.
  at::Tensor squares() const { return squares_; }
  /// [rows] int32, likewise: how often AdamW has updated each row; undefined for SGD.
  at::Tensor updates() const { return updates_; }

 private:
  class Memory;

  ClassShard shard_;
  std::int64_t dim_;
  CenterOptimizer optimizer_;
  std::unique_ptr<Memory> memory_;
  at::Tensor weights_, momentum_, squares_, updates_;
};

/// One rank's centres as `.safetensors`: `centers` [rows, dim] float32, with the range of global
/// classes that they are as metadata. Streamed, without a copy of the table.
void save_centers(const CenterTable& table, const std::filesystem::path& path);

}  // namespace pfc
