#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdint>

#include "head/kernels/kernels_cuda.h"

/// What tests of a GPU's kernels share.
namespace pfc {

namespace gpu = kernels::cuda;

inline const at::Device kGpu(at::kCUDA, 0);

inline at::TensorOptions on_gpu(at::ScalarType type) {
  return at::TensorOptions(kGpu).dtype(type);
}

inline gpu::Stream stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

/// A copy of the bytes in the GPU's memory.
inline at::Tensor sent(const void* data, std::int64_t bytes) {
  return at::from_blob(const_cast<void*>(data), {bytes}, at::kByte).to(kGpu);
}
template <class T>
at::Tensor sent(const T& value) {
  return sent(&value, sizeof(value));
}

/// And back.
inline void fetch(const at::Tensor& from, void* to) {
  at::from_blob(to, from.sizes(), at::TensorOptions(from.scalar_type())).copy_(from);
}

}  // namespace pfc
