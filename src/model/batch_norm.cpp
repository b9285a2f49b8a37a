#include "model/batch_norm.h"

#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/batch_norm_gpu.h"
#include "model/batch_norm_kernels.h"
#include "model/saved_communicator.h"

namespace pfc {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::Rows rows_of(const at::Tensor& x) {
  return {x.size(0) * x.size(2) * x.size(3), x.size(1)};
}

/// Calls f(share, first value, rows) for each thread's share of the rows.
template <class F>
void share_rows(const kernels::Rows& rows, std::int64_t shares, F f) {
  at::parallel_for(0, shares, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t share = begin; share < end; ++share) {
      const std::int64_t first = rows.count * share / shares;
      const std::int64_t last = rows.count * (share + 1) / shares;
      f(share, first * rows.channels, kernels::Rows{last - first, rows.channels});
    }
  });
}

/// Sums over rows, `kinds` of them for each channel. Each share adds to its own sums, and these are
/// joined in the order of the shares, so that the same number of threads gives the same bits.
class Sums {
 public:
  Sums(std::int64_t shares, std::int64_t kinds, std::int64_t channels)
      : kinds_(kinds),
        channels_(channels),
        values_(static_cast<std::size_t>(shares * kinds * channels)) {}

  double* of(std::int64_t share, std::int64_t kind) {
    return values_.data() + (share * kinds_ + kind) * channels_;
  }
  double total(std::int64_t kind, std::int64_t channel) const {
    double sum = 0;
    const std::int64_t size = kinds_ * channels_;
    for (auto i = kind * channels_ + channel; i < std::ssize(values_); i += size) {
      sum += values_[static_cast<std::size_t>(i)];
    }
    return sum;
  }

 private:
  std::int64_t kinds_, channels_;
  std::vector<double> values_;
};

/// Mean and variance for a batch normalisation, over `count` values, in float64.
struct Moments {
  at::Tensor mean, variance;  ///< [channels]; the variance is the mean squared deviation
  at::Tensor count;           ///< scalar
};

/// Joins those of all ranks (Chan et al., "Updating formulae and a pairwise algorithm", 1979).
Moments over_ranks(const Moments& local, Communicator& comm) {
  const std::int64_t channels = local.mean.size(0);
  const at::Tensor all =
      comm.all_gather(at::cat({local.mean, local.variance, local.count.view({1})}).unsqueeze(0))
          .wait();  // [W, 2·channels + 1]
  const at::Tensor means = all.narrow(1, 0, channels), counts = all.narrow(1, 2 * channels, 1);
  const at::Tensor share = counts / counts.sum();
  const at::Tensor mean = (share * means).sum(0);
  const at::Tensor variance =
      (share * (all.narrow(1, channels, channels) + (means - mean).square())).sum(0);
  return {mean, variance, counts.sum()};
}

void move_running_statistics(const BatchNormState& state, const Moments& moments) {
  const auto move = [&](const at::Tensor& running, const at::Tensor& to) {
    running.add_((to - running).to(running.scalar_type()), state.momentum);
  };
  move(state.running_mean, moments.mean);
  move(state.running_var, moments.variance * (moments.count / (moments.count - 1)));
}

/// For the backward pass. `local` is not changed.
at::Tensor sum_over_ranks(const at::Tensor& local, Communicator* comm) {
  if (comm == nullptr) return local;
  at::Tensor sum = local.clone();
  return comm->all_reduce(sum).wait();
}

class BatchNormPRelu : public torch::autograd::Function<BatchNormPRelu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const at::Tensor& slope,
                            const BatchNormState& state) {
    const auto rows = rows_of(x);
    const std::int64_t shares = at::get_num_threads();
    const float* in = x.const_data_ptr<float>();

    Sums sums(shares, 2, rows.channels);
    share_rows(rows, shares, [&](std::int64_t share, std::int64_t first, kernels::Rows part) {
      kernels::add_moments(in + first, part, in, sums.of(share, 0), sums.of(share, 1));
    });

    const auto count = static_cast<double>(rows.count);
    Moments moments{at::empty({rows.channels}, at::kDouble),
                    at::empty({rows.channels}, at::kDouble), at::scalar_tensor(count, at::kDouble)};
    for (std::int64_t c = 0; c < rows.channels; ++c) {
      const double from_origin = sums.total(0, c) / count;
      moments.mean.mutable_data_ptr<double>()[c] = static_cast<double>(in[c]) + from_origin;
      moments.variance.mutable_data_ptr<double>()[c] =
          std::max(0.0, sums.total(1, c) / count - from_origin * from_origin);
    }
    if (state.comm != nullptr) moments = over_ranks(moments, *state.comm);
    move_running_statistics(state, moments);
    const at::Tensor mean = moments.mean.to(at::kFloat);
    const at::Tensor inverse_deviation = (moments.variance + state.epsilon).rsqrt().to(at::kFloat);
    const at::Tensor scale = weight * inverse_deviation;

    auto y = at::empty_like(x);
    float* out = y.mutable_data_ptr<float>();
    const auto f = arguments(mean, scale, bias, slope);
    share_rows(rows, shares, [&](std::int64_t, std::int64_t first, kernels::Rows part) {
      kernels::norm_prelu(in + first, part, f, out + first);
    });
    context->save_for_backward({x, mean, scale, inverse_deviation, bias, slope});
    context->saved_data["count"] = moments.count;
    context->saved_data["comm"] = as_value(state.comm);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &mean = saved[1], &scale = saved[2], &inverse_deviation = saved[3],
               &bias = saved[4], &slope = saved[5];
    const auto dy = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    const auto rows = rows_of(x);
    const std::int64_t shares = at::get_num_threads();
    const float* in = x.const_data_ptr<float>();
    const float* out = dy.const_data_ptr<float>();
    const auto f = arguments(mean, scale, bias, slope);

    Sums sums(shares, 3, rows.channels);
    share_rows(rows, shares, [&](std::int64_t share, std::int64_t first, kernels::Rows part) {
      kernels::add_gradient_sums(in + first, out + first, part, f, sums.of(share, 0),
                                 sums.of(share, 1), sums.of(share, 2));
    });

    at::Tensor totals = at::empty({3, rows.channels}, at::kDouble);
    for (std::int64_t kind = 0; kind < 3; ++kind) {
      for (std::int64_t c = 0; c < rows.channels; ++c)
        totals.mutable_data_ptr<double>()[kind * rows.channels + c] = sums.total(kind, c);
    }
    const at::Tensor local = totals.to(at::kFloat);  // d_bias, d_weight · deviation, d_slope
    const at::Tensor means =
        sum_over_ranks(totals.narrow(0, 0, 2), as_communicator(context->saved_data["comm"])) /
        context->saved_data["count"].toTensor();
    const at::Tensor constant = (-scale * means[0]).to(at::kFloat);
    const at::Tensor along_x = (-scale * inverse_deviation.square() * means[1]).to(at::kFloat);

    auto dx = at::empty_like(x);
    float* to = dx.mutable_data_ptr<float>();
    share_rows(rows, shares, [&](std::int64_t, std::int64_t first, kernels::Rows part) {
      kernels::input_gradient(in + first, out + first, part, f, along_x.const_data_ptr<float>(),
                              constant.const_data_ptr<float>(), to + first);
    });
    return {dx, local[1] * inverse_deviation, local[0], local[2], {}};
  }

 private:
  static kernels::NormPRelu arguments(const at::Tensor& mean, const at::Tensor& scale,
                                      const at::Tensor& bias, const at::Tensor& slope) {
    return {mean.const_data_ptr<float>(), scale.const_data_ptr<float>(),
            bias.const_data_ptr<float>(), slope.const_data_ptr<float>()};
  }
};

/// Batch normalisation over the images of all ranks, with the plain operators.
class SynchronisedBatchNorm : public torch::autograd::Function<SynchronisedBatchNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const BatchNormState& state) {
    const auto dims = all_but_channels(x);
    const auto [variance, mean] =
        at::var_mean(x.to(wide(x)), dims, /*correction=*/0, /*keepdim=*/false);
    const std::int64_t count = x.numel() / x.size(1);
    const auto moments = over_ranks({mean.to(at::kDouble), variance.to(at::kDouble),
                                     at::full({}, count, mean.options().dtype(at::kDouble))},
                                    *state.comm);
    move_running_statistics(state, moments);
    const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const auto inverse = (moments.variance + state.epsilon).rsqrt().to(type);
    const auto normalised =
        (x - along_channels(moments.mean.to(type), x)) * along_channels(inverse, x);
    context->save_for_backward({normalised, weight * inverse});
    context->saved_data["count"] = moments.count;
    context->saved_data["comm"] = as_value(state.comm);
    return (normalised * along_channels(weight, x) + along_channels(bias, x)).to(x.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &normalised = saved[0], &scale = saved[1], &dy = gradients[0];
    const auto dims = all_but_channels(dy);
    const auto sums = at::stack({dy.sum(dims, false, wide(dy)).to(at::kDouble),
                                 (dy * normalised).sum(dims, false, wide(dy)).to(at::kDouble)});
    const auto type = normalised.scalar_type();
    const auto total = sum_over_ranks(sums, as_communicator(context->saved_data["comm"]));
    const auto means = (total / context->saved_data["count"].toTensor()).to(type);
    const auto dx =
        (dy - along_channels(means[0], dy) - normalised * along_channels(means[1], dy)) *
        along_channels(scale, dy);
    return {dx, sums[1].to(type), sums[0].to(type), {}};
  }

 private:
  /// The type for sums over x. A GPU adds in a tree, where float32 loses little; float64 would cost
  /// it twice the memory and, on most cards, 64 times the time.
  static at::ScalarType wide(const at::Tensor& x) {
    return x.is_cpu() || x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  }
  static std::vector<std::int64_t> all_but_channels(const at::Tensor& x) {
    std::vector<std::int64_t> dims = {0};
    for (std::int64_t i = 2; i < x.dim(); ++i) dims.push_back(i);
    return dims;
  }
  static at::Tensor along_channels(const at::Tensor& values, const at::Tensor& x) {
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
    sizes[1] = values.size(0);
    return values.view(sizes);
  }
};

bool has_kernels(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4 &&
         x.size(1) % kernels::kChannelStep == 0 &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast) && rows_of(x).count > 1;
}

at::Tensor plain(const at::Tensor& x, const BatchNormState& state, const at::Tensor& slope) {
  const auto y =
      state.comm != nullptr
          ? SynchronisedBatchNorm::apply(x, state.weight, state.bias, state)
          : at::batch_norm(x, state.weight, state.bias, state.running_mean, state.running_var,
                           /*training=*/true, state.momentum, state.epsilon,
                           /*cudnn_enabled=*/true);
  return slope.defined() ? at::prelu(y, slope) : y;
}

}  // namespace

at::Tensor batch_norm_prelu(const at::Tensor& x, const BatchNormState& state,
                            const at::Tensor& slope, const at::Tensor& residual) {
  if (gpu_norm::takes(x, state, slope)) return gpu_norm::batch_norm(x, state, slope, residual);
  // With a slope of 1 a PReLU does nothing.
  const at::Tensor y = has_kernels(x)
                           ? BatchNormPRelu::apply(
                                 x, state.weight, state.bias,
                                 slope.defined() ? slope : at::ones_like(state.running_mean), state)
                           : plain(x, state, slope);
  return residual.defined() ? y + residual : y;
}

NormedSum norm_add_norm(const at::Tensor& x, const BatchNormState& state,
                        const at::Tensor& residual, const BatchNormState& next) {
  if (gpu_norm::takes(x, state) && gpu_norm::takes(x, next))
    return gpu_norm::norm_add_norm(x, state, residual, next);
  const at::Tensor sum = batch_norm_prelu(x, state, /*slope=*/{}, residual);
  return {sum, batch_norm_prelu(sum, next)};
}

}  // namespace pfc
