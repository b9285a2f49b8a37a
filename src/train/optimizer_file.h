#pragma once

#include <torch/optim/optimizer.h>

#include <filesystem>

#include "pfc/base/checksum.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The state that `optimizer` (make_optimizer's) has of the backbone's parameters, as
/// `.safetensors`: under `<parameter>.momentum` SGD's, under `<parameter>.exp_avg`, `.exp_avg_sq`
/// and
/// `.step` AdamW's. Returned is what the file holds.
Checksums save_optimizer(const torch::optim::Optimizer& optimizer, const Backbone& backbone,
                         const std::filesystem::path& path);

/// Replaces the optimizer's state by that of a file. Throws DataError where the file has a tensor
/// that this backbone or this kind of optimizer has not, or one of another shape.
void load_optimizer(const std::filesystem::path& path, const Backbone& backbone,
                    torch::optim::Optimizer& optimizer);

}  // namespace pfc
