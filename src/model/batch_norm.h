#pragma once

#include <ATen/core/Tensor.h>

#include "pfc/comm/communicator.h"

namespace pfc {

/// The tensors of a batch normalisation, [channels] each.
struct BatchNormState {
  at::Tensor weight, bias, running_mean, running_var;
  double momentum, epsilon;
  /// Normalises over the images of all ranks, in forward and backward, with a collective of 2
  /// values for each channel in each; null: over this rank's images.
  Communicator* comm = nullptr;
};

/// Batch normalisation in training mode (it updates the running statistics), then a PReLU of
/// `slope` [channels] if that is defined. x [b, channels, h, w].
///
/// On the CPU, for float32 in channels_last, this is one autograd function; elsewhere the plain
/// operators run. The function keeps only x for the backward pass and computes the normalised value
/// again. It reads each tensor as seldom as possible; PyTorch's PReLU writes a gradient of the
/// slope as large as x and sums it afterwards. Measured on `tiny`, batch 128, one core: batch
/// normalisation and PReLU take 36% of a step with the plain operators, and 16% of one with this
/// function.
at::Tensor batch_norm_prelu(const at::Tensor& x, const BatchNormState& state,
                            const at::Tensor& slope);

}  // namespace pfc
