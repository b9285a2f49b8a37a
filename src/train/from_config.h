#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <vector>

#include "pfc/head/partial_fc.h"
#include "pfc/train/config.h"

namespace pfc {

PartialFcOptions head_options(const Config& config, at::Device device);

/// Of the backbone's parameters.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(const Config& config,
                                                        std::vector<at::Tensor> parameters);

}  // namespace pfc
