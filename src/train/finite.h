#pragma once

#include "pfc/train/train_step.h"

namespace pfc {

/// If the head's loss is not finite, throws Error that names the step, the learning rate and the
/// first tensor on the way to the loss that is not finite. `embeddings` [n, d] are those of all
/// ranks, for the plan's images from `first` on.
void require_finite_loss(const StepPlan& plan, double lr, const at::Tensor& embeddings,
                         std::int64_t first, const Training& training);

/// The same for a step that is over and whose embeddings are gone.
[[noreturn]] void fail_by_loss(const StepPlan& plan, double lr, const Training& training);

/// The same for the norm of the backbone's gradient.
void require_finite_gradient(double norm, const StepPlan& plan, double lr,
                             const Training& training);

}  // namespace pfc
