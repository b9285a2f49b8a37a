#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/data/loader.h"
#include "pfc/head/number_type.h"
#include "pfc/head/partial_fc.h"
#include "pfc/model/backbone.h"
#include "pfc/plan/step_plan.h"
#include "pfc/train/backbone_optimizer.h"
#include "pfc/train/backbone_pass.h"
#include "pfc/train/gradient_buckets.h"
#include "pfc/train/loss_scaler.h"
#include "pfc/train/pending_values.h"

namespace pfc {

/// The objects that a training step changes. Backbone and head are on one device.
struct Training {
  Backbone& backbone;
  PartialFc& head;
  GradientBuckets& gradients;    ///< of the backbone
  BackboneOptimizer& optimizer;  ///< of the backbone; the head updates its own centres
  Communicator& comm;
  double clip_norm =
      0;  ///< limit for the norm of the backbone's gradient over all its parameters; 0: no limit
  /// The type in which embeddings are sent between ranks. In bfloat16 they are rounded to 1/256 and
  /// then scaled back to unit length.
  NumberType gather = NumberType::kFloat32;
  /// The type in which the backbone computes (autocast): float32, bfloat16 or, with a scaler,
  /// float16. Its parameters, its last layers and the head's arithmetic are float32.
  at::ScalarType precision = at::kFloat;
  LossScaler* scaler = nullptr;
  /// Made by the first step.
  std::unique_ptr<BackbonePass> pass = nullptr;
};

struct StepResult {
  double loss = 0;           ///< mean over the global batch
  double gradient_norm = 0;  ///< of the backbone, before clipping
  /// Places in the global batch of images that did not decode, on any rank.
  std::vector<std::int64_t> without_image = {};
};

/// A step that a GPU may still be computing.
class PendingStep {
 public:
  /// values [2 + B] float64 on the step's device: loss, norm of the gradient, valid.
  explicit PendingStep(const at::Tensor& values) : values_(values) {}

  /// Whether the host has continued without it.
  bool is_pending() const { return values_.is_pending(); }
  /// Waits until it is over.
  StepResult wait();

 private:
  PendingValues values_;
};

/// Makes one step: this rank's images of the plan through the backbone, the head over all ranks'
/// embeddings, and both updates. If the loss or the backbone's gradient is not finite, neither
/// update is applied. On a CPU it then throws Error with the step, the learning rate and the first
/// tensor that is not finite. On a GPU it does not wait for the step, whose result is examined
/// later (require_finite).
PendingStep train_step(const StepPlan& plan, const Batch& batch, double lr, Training& training);

/// Throws that Error if the result of a step is not finite. In float16, a step with a gradient that
/// is not finite was skipped, and is no error.
void require_finite(const StepResult& result, const StepPlan& plan, double lr,
                    const Training& training);

}  // namespace pfc
