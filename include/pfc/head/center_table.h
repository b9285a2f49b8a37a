#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pfc/head/center_optimizer.h"
#include "pfc/head/number_type.h"
#include "pfc/plan/class_shard.h"

namespace pfc {

struct TableState;

struct CenterTableOptions {
  std::int64_t dim = 512;
  CenterOptimizer optimizer = {};
  NumberType weights = NumberType::kFloat32;  ///< how the centres are stored
  NumberType state = NumberType::kFloat32;    ///< how the optimizer's state is stored
  std::uint64_t seed = 0;                     ///< of the centres' initial values and of rounding
  at::Device device = at::kCPU;               ///< where steps work on the table
  /// For a GPU whose memory is too small for the table: it lies in host memory, and each step's
  /// rows are copied to the GPU. On a CPU the table lies there anyway.
  bool in_host_memory = false;
};

/// The bytes of one class centre with its optimizer state.
std::int64_t bytes_a_row(const CenterTableOptions& options);

/// One rank's class centres and their optimizer state, in memory that is reserved once, the host's
/// or a GPU's. No gradient of the table and no second copy of it ever exists: rows are gathered for
/// a tile and updated in place, by PartialFc. bfloat16 is rounded stochastically, so that small
/// changes are not lost.
class CenterTable {
 public:
  static constexpr float kInitialDeviation = 0.01f;

  /// Centres start as N(0, 0.01²), a pure function of (seed, global class, component); the
  /// optimizer state starts as 0. Throws Error if an option makes no sense or the memory cannot be
  /// reserved.
  CenterTable(const ClassShard& shard, const CenterTableOptions& options);
  ~CenterTable();
  CenterTable(const CenterTable&) = delete;
  CenterTable& operator=(const CenterTable&) = delete;

  const ClassShard& shard() const;
  std::int64_t dim() const;
  const CenterOptimizer& optimizer() const;
  /// Reserved for weights and optimizer state.
  std::int64_t bytes() const;
  /// Steps that ended since the table was made.
  std::int64_t steps() const;

  /// What the table holds, itself and not a copy, under the names that files give it; each
  /// [rows, …]. The first is "centers". What the optimizer keeps comes next: "momentum" of SGD with
  /// momentum, "momentum" and "squares" of AdamW (the means of gradients and of their squares).
  /// Then "updates" [rows] int32 where it is counted how often each row was updated (AdamW), and
  /// with Update::kDenseEquivalent "steps_seen" [rows] int32: how many of the steps since all rows
  /// were last caught up the row has been through.
  std::vector<std::pair<std::string, at::Tensor>> parts() const;
  /// One of them; undefined where the table has none of this name.
  at::Tensor part(std::string_view name) const;
  /// [rows, dim]: part("centers").
  at::Tensor weights() const;

  /// [n, dim] float32 in host memory: the rows as they are now, with the steps that they missed.
  at::Tensor rows(std::span<const LocalRow> rows) const;
  /// Brings every row through the steps it missed (Update::kDenseEquivalent; else there are none),
  /// so that the parts hold what they should. Costs a pass over the table.
  void catch_up();

 private:
  friend struct TableState;
  std::unique_ptr<TableState> state_;
};

}  // namespace pfc
