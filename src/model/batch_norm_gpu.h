#pragma once

#include "model/batch_norm.h"

namespace pfc::gpu_norm {

// batch_norm.h's functions by the kernels of norm_kernels_cuda.h. The numbers of a normalisation
// and the parts of its sums stay on the GPU, and the host waits for nothing.

/// Whether the kernels can do it: x [b, channels] or, in channels_last, [b, channels, h, w] on a
/// GPU, of float32, bfloat16 or float16, a multiple of 8 channels; all else in float32.
bool takes(const at::Tensor& x, const BatchNormState& state, const at::Tensor& slope = {});

at::Tensor batch_norm(const at::Tensor& x, const BatchNormState& state, const at::Tensor& slope,
                      const at::Tensor& residual);
NormedSum norm_add_norm(const at::Tensor& x, const BatchNormState& state,
                        const at::Tensor& residual, const BatchNormState& next);

}  // namespace pfc::gpu_norm
