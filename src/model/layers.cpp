#include "model/layers.h"

#include <torch/types.h>

#include "model/batch_norm.h"

namespace pfc {
namespace {

constexpr double kMomentum = 0.1;
constexpr double kLayerNormEpsilon = 1e-5;

}  // namespace

Conv::Conv(const ConvShape& shape)
    : weight(register_parameter("weight", torch::empty({shape.out, shape.in / shape.groups,
                                                        shape.kernel, shape.kernel}))),
      shape_(shape) {}

torch::Tensor Conv::forward(const torch::Tensor& x) const {
  return at::conv2d(x, weight, {}, shape_.stride, shape_.padding, /*dilation=*/1, shape_.groups);
}

BatchNorm::BatchNorm(std::int64_t channels, double epsilon)
    : weight(register_parameter("weight", torch::ones(channels))),
      bias(register_parameter("bias", torch::zeros(channels))),
      running_mean(register_buffer("running_mean", torch::zeros(channels))),
      running_var(register_buffer("running_var", torch::ones(channels))),
      num_batches_tracked(register_buffer("num_batches_tracked", torch::zeros({}, torch::kInt64))),
      epsilon_(epsilon) {}

torch::Tensor BatchNorm::forward(const torch::Tensor& x, const torch::Tensor& slope) {
  if (is_training()) {
    num_batches_tracked.add_(1);
    return batch_norm_prelu(
        x, {weight, bias, running_mean, running_var, kMomentum, epsilon_, comm_}, slope);
  }
  const auto y = at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/false,
                                kMomentum, epsilon_, /*cudnn_enabled=*/true);
  return slope.defined() ? at::prelu(y, slope) : y;
}

PRelu::PRelu(std::int64_t channels)
    : weight(register_parameter("weight", torch::full(channels, 0.25))) {}

Linear::Linear(std::int64_t in, std::int64_t out, bool has_bias)
    : weight(register_parameter("weight", torch::empty({out, in}))),
      bias(has_bias ? register_parameter("bias", torch::empty(out)) : torch::Tensor()) {}

torch::Tensor Linear::forward(const torch::Tensor& x) const {
  return at::linear(x, weight, bias);
}

LayerNorm::LayerNorm(std::int64_t channels)
    : weight(register_parameter("weight", torch::ones(channels))),
      bias(register_parameter("bias", torch::zeros(channels))) {}

torch::Tensor LayerNorm::forward(const torch::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, kLayerNormEpsilon);
}

}  // namespace pfc
