#pragma once

#include <cstdint>
#include <tuple>

#include "gpu_check/gpu_check.h"
#include "head/kernels/kernels_cuda.h"
#include "head/table_view.h"

namespace pfc::gpu_check {

namespace gpu = kernels::cuda;

inline double limit_of(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : 1e-3;
}

/// The scalars that a step's launches read, on the GPU.
inline at::Tensor send(const gpu::StepScalars& scalars) {
  return at::from_blob(const_cast<gpu::StepScalars*>(&scalars), {sizeof(scalars)}, at::kByte)
      .to(kGpu);
}
inline const gpu::StepScalars* pointer(const at::Tensor& scalars) {
  return static_cast<const gpu::StepScalars*>(scalars.data_ptr());
}

/// A table and some of its rows; samples own kOwned of them.
struct Case {
  static constexpr std::int64_t kOwned = 3;
  at::Tensor weights, momentum, squares, updates, rows, scalars;

  Case(at::ScalarType type, std::int64_t count, std::int64_t picked)
      : weights(random({count, kDim}, type)),
        momentum(random({count, kDim}, type) * 0.1),
        squares(random({count, kDim}).square().mul_(0.01).to(type)),
        updates(torch::randint(0, 9, {count}, at::TensorOptions(kGpu).dtype(at::kInt))),
        rows(std::get<0>(torch::randperm(count, at::TensorOptions(kGpu).dtype(at::kLong))
                             .narrow(0, 0, picked)
                             .sort())),
        scalars(send({.count = picked,
                      .owned = kOwned,
                      .optimizer = {.momentum = 0.9, .weight_decay = 5e-4},
                      .lr = 0.1,
                      .change = 6})) {}

  gpu::Table table() const {
    return {.weights = weights.data_ptr(),
            .states = {momentum.data_ptr(), squares.data_ptr()},
            .updates = updates.data_ptr<std::int32_t>(),
            .weight_type = number_type_of(weights),
            .state_type = number_type_of(momentum),
            .dim = kDim};
  }
  gpu::SampledRows sampled(std::int64_t size) const {
    return {rows.const_data_ptr<std::int64_t>(), pointer(scalars), 0, size};
  }
};

}  // namespace pfc::gpu_check
