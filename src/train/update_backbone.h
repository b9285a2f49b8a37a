#pragma once

#include <torch/optim/optimizer.h>

namespace pfc {

/// A step of torch.optim's SGD or AdamW on all of its parameters, in a few operators however many
/// they are; its state is where that optimizer keeps it. Does nothing where skip [1] float32, on
/// the parameters' device, is not 0. `skipped` [1] float32, where steps may be, says how many were
/// so far: AdamW's count of steps, which is the host's, does not know.
void update_backbone(torch::optim::Optimizer& optimizer, double lr, const at::Tensor& skip,
                     const at::Tensor& skipped = {});

}  // namespace pfc
