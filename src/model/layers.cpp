#include "model/layers.h"

#include <torch/torch.h>

#include "model/batch_norm.h"

namespace pfc {
namespace {

constexpr double kMomentum = 0.1;
constexpr double kEpsilon = 1e-5;

}  // namespace

Conv::Conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride)
    : weight(register_parameter("weight", torch::empty({out, in, kernel, kernel}))),
      stride_(stride),
      padding_(kernel / 2) {}

torch::Tensor Conv::forward(const torch::Tensor& x) const {
  return at::conv2d(x, weight, {}, stride_, padding_);
}

BatchNorm::BatchNorm(std::int64_t channels)
    : weight(register_parameter("weight", torch::ones(channels))),
      bias(register_parameter("bias", torch::zeros(channels))),
      running_mean(register_buffer("running_mean", torch::zeros(channels))),
      running_var(register_buffer("running_var", torch::ones(channels))),
      num_batches_tracked(register_buffer("num_batches_tracked", torch::zeros({}, torch::kInt64))) {
}

torch::Tensor BatchNorm::forward(const torch::Tensor& x, const torch::Tensor& slope) {
  if (is_training()) {
    num_batches_tracked.add_(1);
    return batch_norm_prelu(x, {weight, bias, running_mean, running_var, kMomentum, kEpsilon},
                            slope);
  }
  const auto y = at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/false,
                                kMomentum, kEpsilon, /*cudnn_enabled=*/true);
  return slope.defined() ? at::prelu(y, slope) : y;
}

PRelu::PRelu(std::int64_t channels)
    : weight(register_parameter("weight", torch::full(channels, 0.25))) {}

Linear::Linear(std::int64_t in, std::int64_t out)
    : weight(register_parameter("weight", torch::empty({out, in}))),
      bias(register_parameter("bias", torch::empty(out))) {}

torch::Tensor Linear::forward(const torch::Tensor& x) const {
  return at::linear(x, weight, bias);
}

}  // namespace pfc
