#include "head/step_history.h"

#include <ATen/Functions.h>

namespace pfc {

void StepHistory::end_step(double lr) {
  ++steps_;
  if (is_kept()) skipped_->push(lr);
}

bool StepHistory::is_full(std::int64_t more) const {
  // It bounds what a step spends on the products to half a millisecond.
  constexpr std::int64_t kMostSkipped = 1 << 15;
  return is_kept() && size() + more >= kMostSkipped;
}

at::Tensor StepHistory::missed() const {
  at::Tensor maps = at::empty({size() + 1, 4}, at::kFloat);
  auto* const to = reinterpret_cast<kernels::CatchUp*>(maps.data_ptr<float>());
  for (std::int64_t i = 0; i <= size(); ++i) to[i] = skipped_->since(i);
  return maps;
}

void StepHistory::clear() {
  seen_.zero_();
  skipped_->clear();
}

void StepHistory::resume(std::int64_t steps, const CenterOptimizer& optimizer,
                         std::span<const double> learning_rates) {
  steps_ = steps;
  if (!is_kept()) return;
  skipped_.emplace(optimizer);
  for (const double lr : learning_rates) skipped_->push(lr);
}

}  // namespace pfc
