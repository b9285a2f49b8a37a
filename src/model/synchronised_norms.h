#pragma once

#include <ATen/core/Tensor.h>

#include "pfc/comm/communicator.h"

namespace pfc {

/// From here on, batch normalisation in training normalises over the images of all ranks of `comm`,
/// in forward and backward, where `running_mean` is its running mean. `comm` must outlive the
/// training.
///
/// torch::nn::BatchNorm2d cannot be replaced in a network of C++: its forward is not virtual, and
/// networks hold it by its type. But all of LibTorch's batch normalisation comes to one operator,
/// aten::batch_norm. The first call puts a function in front of it, which knows these tensors and
/// leaves every other call as it is.
void synchronise_norm(const at::Tensor& running_mean, Communicator& comm);

}  // namespace pfc
