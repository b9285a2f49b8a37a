#pragma once

#include "pfc/train/train_step.h"

namespace pfc {

/// Throws Error, naming the step, the learning rate and the first tensor on the way to the loss
/// that holds a value that is not finite, where the head's loss is not. `embeddings` [n, d] are
/// those of all ranks, of the plan's images from `first` on.
void require_finite_loss(const StepPlan& plan, double lr, const at::Tensor& embeddings,
                         std::int64_t first, const Training& training);

/// The same of a step that is over, whose embeddings are gone.
[[noreturn]] void fail_by_loss(const StepPlan& plan, double lr, const Training& training);

/// The same for the norm of the backbone's gradient.
void require_finite_gradient(double norm, const StepPlan& plan, double lr,
                             const Training& training);

}  // namespace pfc
