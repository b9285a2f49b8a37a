#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "head/skipped_steps.h"
#include "pfc/plan/class_shard.h"

namespace pfc {

/// Whether rows are brought through the steps that they missed.
inline bool is_dense(const CenterOptimizer& optimizer) {
  return optimizer.update == CenterOptimizer::Update::kDenseEquivalent;
}

/// The steps since all rows of a table were last caught up, as a saved table has them
/// (CenterOptimizer::Update::kDenseEquivalent; else there are none).
struct MissedSteps {
  std::vector<double> learning_rates = {};
  double momentum = 0, weight_decay = 0;
};

/// The steps of a table and, where rows are to be brought through those that they missed
/// (CenterOptimizer::Update::kDenseEquivalent), which steps each row has been through.
class StepHistory {
 public:
  StepHistory() = default;
  /// seen [rows] int32, zeros, where the table keeps it.
  StepHistory(const CenterOptimizer& optimizer, const at::Tensor& seen)
      : seen_(seen), skipped_(optimizer) {}

  /// Steps that ended since the table was made.
  std::int64_t steps() const { return steps_; }
  /// A step of this learning rate has ended.
  void end_step(double lr);

  /// Whether rows may have missed steps; what follows is asked only then.
  bool is_kept() const { return skipped_.has_value(); }
  /// [rows] int32, in place: how many of the steps since all rows were last caught up the row has
  /// been through.
  const at::Tensor& seen() const { return seen_; }
  std::int64_t size() const { return skipped_->size(); }
  /// Of those steps.
  std::span<const double> learning_rates() const { return skipped_->learning_rates(); }
  /// Whether there are so many that all rows have to be caught up.
  bool is_full(std::int64_t more = 0) const;

  /// What a row missed by now.
  kernels::CatchUp missed(LocalRow row) const { return skipped_->since(numbers()[row.v]); }
  /// [n + 1, 4] float32: what a row missed that has been through so many of the n steps, as
  /// CatchUp has it (w_w, w_v, v_w, v_v).
  at::Tensor missed() const;
  /// In the step under way the row was updated.
  void see(LocalRow row) { numbers()[row.v] = static_cast<std::int32_t>(size() + 1); }
  /// All rows are caught up.
  void clear();

  /// Goes on after `steps` steps, of which rows missed those that `seen` says, made by `optimizer`.
  void resume(std::int64_t steps, const CenterOptimizer& optimizer,
              std::span<const double> learning_rates);

 private:
  std::int32_t* numbers() const { return seen_.data_ptr<std::int32_t>(); }

  std::int64_t steps_ = 0;
  at::Tensor seen_;
  std::optional<SkippedSteps> skipped_;
};

}  // namespace pfc
