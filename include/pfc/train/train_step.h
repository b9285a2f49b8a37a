#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/data/loader.h"
#include "pfc/head/number_type.h"
#include "pfc/head/partial_fc.h"
#include "pfc/model/backbone.h"
#include "pfc/train/gradient_buckets.h"
#include "pfc/train/step_plan.h"

namespace pfc {

/// What a training step changes.
struct Training {
  Backbone& backbone;
  PartialFc& head;
  GradientBuckets& gradients;          ///< of the backbone
  torch::optim::Optimizer& optimizer;  ///< of the backbone; the head updates its own centres
  Communicator& comm;
  double clip_norm = 0;  ///< of the backbone's gradient, over all its parameters; 0: not clipped
  /// What embeddings travel between ranks as. In bfloat16 they are rounded, to 1/256, and brought
  /// back to unit length.
  NumberType gather = NumberType::kFloat32;
};

struct StepResult {
  double loss = 0;           ///< mean over the global batch
  double gradient_norm = 0;  ///< of the backbone, before clipping
  /// Places in the global batch of images that did not decode, on whichever rank.
  std::vector<std::int64_t> without_image = {};
};

/// One step: this rank's images of the plan through the backbone, the head over all ranks'
/// embeddings, and both updates. Throws Error with the step, the learning rate and the first tensor
/// that is not finite where the loss or the backbone's gradient is not; neither is applied then.
StepResult train_step(const StepPlan& plan, const Batch& batch, double lr, Training& training);

}  // namespace pfc
