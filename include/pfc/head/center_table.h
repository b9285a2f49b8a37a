#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pfc/head/center_optimizer.h"
#include "pfc/head/number_type.h"
#include "pfc/plan/class_shard.h"

namespace pfc {

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

/// The steps since all rows of a table were last caught up, as a saved table has them
/// (CenterOptimizer::Rule::kDenseEquivalent; else there are none).
struct MissedSteps {
  std::vector<double> learning_rates = {};
  double momentum = 0, weight_decay = 0;
};

/// The bytes of one class centre with its optimizer state.
std::int64_t bytes_a_row(const CenterTableOptions& options);

/// One rank's class centres and their optimizer state, in memory that is reserved once, the host's
/// or a GPU's. No gradient of the table and no second copy of it ever exists: rows are gathered for
/// a tile and updated in place. bfloat16 is rounded stochastically, so that small changes are not
/// lost.
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

  const ClassShard& shard() const { return shard_; }
  std::int64_t dim() const { return options_.dim; }
  const CenterOptimizer& optimizer() const { return options_.optimizer; }
  /// Reserved for weights and optimizer state.
  std::int64_t bytes() const;

  // A step gathers rows, then updates them, tile by tile, and ends. In host memory these two run on
  // the thread that calls them, and may be called by several at once for different rows; on a GPU
  // the head does both itself.

  /// unit [n, dim] = the rows / ‖row‖, inverse_norm [n] = 1 / ‖row‖; both float32.
  void gather_normalize(std::span<const LocalRow> rows, const at::Tensor& unit,
                        const at::Tensor& inverse_norm) const;
  /// d_unit [n, dim] is the loss's gradient by the normalised rows, inverse_norm [n] as gathered.
  /// Rows must differ.
  void update(std::span<const LocalRow> rows, const at::Tensor& d_unit,
              const at::Tensor& inverse_norm, double lr);
  /// After the step's updates, with their learning rate.
  void end_step(double lr);
  /// Whether the step that ends next brings every row through what it missed.
  bool next_step_catches_up() const;

  /// Brings every row through the steps it missed (Rule::kDenseEquivalent; else there are none), so
  /// that the tensors below hold what they should. Costs a pass over the table.
  void catch_up();

  /// What the table holds, in place, under the names that files give it: "centers" and, where there
  /// are any, "momentum", "squares", "updates" and "steps_seen" (see weights() to steps_seen());
  /// each [rows, …].
  std::vector<std::pair<std::string, at::Tensor>> parts() const;
  /// Steps that ended since the table was made.
  std::int64_t steps() const { return steps_; }
  /// [n + 1, 4] float32: what a row has missed that has been through so many of the n steps since
  /// all rows were last caught up, as kernels::formulas::CatchUp has it (w_w, w_v, v_w, v_v);
  /// undefined but for Rule::kDenseEquivalent.
  at::Tensor missed() const;
  /// Of the steps since all rows were last caught up (Rule::kDenseEquivalent; else there are none).
  std::span<const double> learning_rates() const;
  /// After all parts were overwritten with those of a table that went through `steps` steps, where
  /// rows have missed `missed`: goes on from there. What was missed stays what it was: where this
  /// table's momentum or decay differ from it, all rows are caught up first.
  void resume(std::int64_t steps, const MissedSteps& missed);

  /// [n, dim] float32 in host memory: the rows as they are now.
  at::Tensor rows(std::span<const LocalRow> rows) const;

  /// [rows, dim], the table itself, not a copy.
  at::Tensor weights() const { return weights_; }
  /// [rows, dim], likewise: SGD's momentum, AdamW's mean of gradients; undefined for SGD without.
  at::Tensor momentum() const { return states_.empty() ? at::Tensor() : states_[0]; }
  /// [rows, dim], likewise: AdamW's mean of squared gradients; undefined for SGD.
  at::Tensor squares() const { return states_.size() < 2 ? at::Tensor() : states_[1]; }
  /// What the optimizer keeps beside the weights, each [rows, dim], likewise.
  std::span<const at::Tensor> states() const { return states_; }
  /// [rows] int32, likewise: how often AdamW has updated each row; undefined for SGD.
  at::Tensor updates() const { return updates_; }
  /// [rows] int32, likewise: how many of the steps since all rows were last caught up the row has
  /// been through; undefined but for Rule::kDenseEquivalent.
  at::Tensor steps_seen() const;

 private:
  class Memory;
  class Rows;
  class WholeRows;
  struct History;

  void catch_up_in_host_memory();

  ClassShard shard_;
  CenterTableOptions options_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<class GpuTable> on_gpu_;  ///< where it lies in a GPU's memory
  at::Tensor weights_, updates_;
  std::vector<at::Tensor> states_;
  std::int64_t steps_ = 0;            ///< that ended
  std::unique_ptr<History> history_;  ///< of Rule::kDenseEquivalent
};

}  // namespace pfc
