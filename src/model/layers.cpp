#include "model/layers.h"

#include <torch/types.h>

#include <string>
#include <string_view>

namespace pfc {
namespace {

constexpr double kMomentum = 0.1;
constexpr double kLayerNormEpsilon = 1e-5;
constexpr std::string_view kLowRank = "lora";

}  // namespace

Conv::Conv(const ConvShape& shape)
    : weight(register_parameter("weight", torch::empty({shape.out, shape.in / shape.groups,
                                                        shape.kernel, shape.kernel}))),
      shape_(shape) {}

torch::Tensor Conv::forward(const torch::Tensor& x) const {
  return at::conv2d(x, weight, {}, shape_.stride, shape_.padding, /*dilation=*/1, shape_.groups);
}

void ChannelMoments::add(const torch::Tensor& x) {
  const std::int64_t count = x.numel() / x.size(1);
  const auto [variances, means] =
      x.dim() == 2 ? at::var_mean(x, at::IntArrayRef{0}, /*unbiased=*/false)
                   : at::var_mean(x, at::IntArrayRef{0, 2, 3}, /*unbiased=*/false);
  const auto mean = means.to(torch::kFloat64);
  const auto squares = variances.to(torch::kFloat64) * count;
  if (count_ == 0) {
    mean_ = mean;
    squares_ = squares;
  } else {  // Chan et al., "Updating formulae and a pairwise algorithm …", 1979
    const auto difference = mean - mean_;
    const double share = static_cast<double>(count) / static_cast<double>(count_ + count);
    squares_ = squares_ + squares + difference.square() * (share * static_cast<double>(count_));
    mean_ = mean_ + difference * share;
  }
  count_ += count;
}

BatchNorm::BatchNorm(std::int64_t channels, double epsilon, bool has_affine)
    : weight(has_affine ? register_parameter("weight", torch::ones(channels)) : torch::Tensor()),
      bias(has_affine ? register_parameter("bias", torch::zeros(channels)) : torch::Tensor()),
      running_mean(register_buffer("running_mean", torch::zeros(channels))),
      running_var(register_buffer("running_var", torch::ones(channels))),
      num_batches_tracked(register_buffer("num_batches_tracked", torch::zeros({}, torch::kInt64))),
      epsilon_(epsilon) {}

BatchNormState BatchNorm::begin_training() {
  num_batches_tracked.add_(1);
  return {weight.defined() ? weight : torch::ones_like(running_mean),
          bias.defined() ? bias : torch::zeros_like(running_mean),
          running_mean,
          running_var,
          kMomentum,
          epsilon_,
          comm_};
}

torch::Tensor BatchNorm::forward(const torch::Tensor& x, const torch::Tensor& slope,
                                 const torch::Tensor& residual) {
  if (is_training()) return batch_norm_prelu(x, begin_training(), slope, residual);
  if (moments_ != nullptr) moments_->add(x);
  auto y = at::batch_norm(x, weight, bias, running_mean, running_var, /*training=*/false, kMomentum,
                          epsilon_, /*cudnn_enabled=*/true);
  if (slope.defined()) y = at::prelu(y, slope);
  return residual.defined() ? y + residual : y;
}

NormedSum BatchNorm::forward_into(BatchNorm& next, const torch::Tensor& x,
                                  const torch::Tensor& residual) {
  if (is_training() && next.is_training())
    return norm_add_norm(x, begin_training(), residual, next.begin_training());
  const auto sum = forward(x, /*slope=*/{}, residual);
  return {sum, next.forward(sum)};
}

PRelu::PRelu(std::int64_t channels)
    : weight(register_parameter("weight", torch::full(channels, 0.25))) {}

Linear::Linear(std::int64_t in, std::int64_t out, bool has_bias)
    : weight(register_parameter("weight", torch::empty({out, in}))),
      bias(has_bias ? register_parameter("bias", torch::empty(out)) : torch::Tensor()) {}

torch::Tensor Linear::forward(const torch::Tensor& x) const {
  const auto y = at::linear(x, weight, bias);
  return low_rank_ ? y + at::linear(at::linear(x, low_rank_->down), low_rank_->up) : y;
}

void Linear::add_low_rank(std::int64_t rank) {
  low_rank_ = add<LowRank>(*this, std::string(kLowRank), weight.size(1), weight.size(0), rank);
}

void Linear::merge_low_rank() {
  if (!low_rank_) return;
  const torch::NoGradGuard no_grad;
  const auto product = low_rank_->up.to(torch::kDouble).mm(low_rank_->down.to(torch::kDouble));
  weight.copy_(weight.to(torch::kDouble) + product);
  unregister_module(std::string(kLowRank));
  low_rank_.reset();
}

bool is_low_rank(std::string_view name) {
  return name.find("." + std::string(kLowRank) + ".") != name.npos;
}

LowRank::LowRank(std::int64_t in, std::int64_t out, std::int64_t rank)
    : down(register_parameter("down", torch::empty({rank, in}))),
      up(register_parameter("up", torch::zeros({out, rank}))) {}

LayerNorm::LayerNorm(std::int64_t channels)
    : weight(register_parameter("weight", torch::ones(channels))),
      bias(register_parameter("bias", torch::zeros(channels))) {}

torch::Tensor LayerNorm::forward(const torch::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, kLayerNormEpsilon);
}

}  // namespace pfc
