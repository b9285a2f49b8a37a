#include "model/batch_norm.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/batch_norm_kernels.h"

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

/// Sums over rows, `kinds` of them a channel: each share adds to its own, and they meet in the
/// order of the shares, so that the same number of threads gives the same bits.
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

class BatchNormPRelu : public torch::autograd::Function<BatchNormPRelu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, const at::Tensor& slope,
                            const BatchNormState& state) {
    const auto rows = rows_of(x);
    const std::int64_t shares = at::get_num_threads();
    const float* in = x.const_data_ptr<float>();

    Sums moments(shares, 2, rows.channels);
    share_rows(rows, shares, [&](std::int64_t share, std::int64_t first, kernels::Rows part) {
      kernels::add_moments(in + first, part, in, moments.of(share, 0), moments.of(share, 1));
    });

    auto mean = at::empty_like(weight);
    auto scale = at::empty_like(weight);
    auto inverse_deviation = at::empty_like(weight);
    const auto count = static_cast<double>(rows.count);
    for (std::int64_t c = 0; c < rows.channels; ++c) {
      const double from_origin = moments.total(0, c) / count;
      const double m = static_cast<double>(in[c]) + from_origin;
      const double variance =
          std::max(0.0, moments.total(1, c) / count - from_origin * from_origin);
      const double inverse = 1 / std::sqrt(variance + state.epsilon);
      mean.mutable_data_ptr<float>()[c] = static_cast<float>(m);
      inverse_deviation.mutable_data_ptr<float>()[c] = static_cast<float>(inverse);
      scale.mutable_data_ptr<float>()[c] =
          weight.const_data_ptr<float>()[c] * static_cast<float>(inverse);
      const auto move = [&](const at::Tensor& running, double to) {
        float& value = running.mutable_data_ptr<float>()[c];
        value += static_cast<float>(state.momentum * (to - static_cast<double>(value)));
      };
      move(state.running_mean, m);
      move(state.running_var, variance * count / (count - 1));
    }

    auto y = at::empty_like(x);
    float* out = y.mutable_data_ptr<float>();
    const auto f = arguments(mean, scale, bias, slope);
    share_rows(rows, shares, [&](std::int64_t, std::int64_t first, kernels::Rows part) {
      kernels::norm_prelu(in + first, part, f, out + first);
    });
    context->save_for_backward({x, mean, scale, inverse_deviation, bias, slope});
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

    auto d_weight = at::empty_like(bias), d_bias = at::empty_like(bias),
         d_slope = at::empty_like(bias);
    auto along_x = at::empty_like(bias), constant = at::empty_like(bias);
    const auto count = static_cast<double>(rows.count);
    for (std::int64_t c = 0; c < rows.channels; ++c) {
      const double inverse = static_cast<double>(inverse_deviation.const_data_ptr<float>()[c]);
      const double g = sums.total(0, c);
      const double g_normalised = sums.total(1, c) * inverse;  // Σ g·x̂
      const double s = static_cast<double>(scale.const_data_ptr<float>()[c]);
      d_bias.mutable_data_ptr<float>()[c] = static_cast<float>(g);
      d_weight.mutable_data_ptr<float>()[c] = static_cast<float>(g_normalised);
      d_slope.mutable_data_ptr<float>()[c] = static_cast<float>(sums.total(2, c));
      along_x.mutable_data_ptr<float>()[c] =
          static_cast<float>(-s * inverse * g_normalised / count);
      constant.mutable_data_ptr<float>()[c] = static_cast<float>(-s * g / count);
    }

    auto dx = at::empty_like(x);
    float* to = dx.mutable_data_ptr<float>();
    share_rows(rows, shares, [&](std::int64_t, std::int64_t first, kernels::Rows part) {
      kernels::input_gradient(in + first, out + first, part, f, along_x.const_data_ptr<float>(),
                              constant.const_data_ptr<float>(), to + first);
    });
    return {dx, d_weight, d_bias, d_slope, {}};
  }

 private:
  static kernels::NormPRelu arguments(const at::Tensor& mean, const at::Tensor& scale,
                                      const at::Tensor& bias, const at::Tensor& slope) {
    return {mean.const_data_ptr<float>(), scale.const_data_ptr<float>(),
            bias.const_data_ptr<float>(), slope.const_data_ptr<float>()};
  }
};

bool has_kernels(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4 &&
         x.size(1) % kernels::kChannelStep == 0 &&
         x.is_contiguous(at::MemoryFormat::ChannelsLast) && rows_of(x).count > 1;
}

}  // namespace

at::Tensor batch_norm_prelu(const at::Tensor& x, const BatchNormState& state,
                            const at::Tensor& slope) {
  if (has_kernels(x)) {
    // A slope of 1 is no PReLU.
    return BatchNormPRelu::apply(x, state.weight, state.bias,
                                 slope.defined() ? slope : at::ones_like(state.running_mean),
                                 state);
  }
  const auto y =
      at::batch_norm(x, state.weight, state.bias, state.running_mean, state.running_var,
                     /*training=*/true, state.momentum, state.epsilon, /*cudnn_enabled=*/true);
  return slope.defined() ? at::prelu(y, slope) : y;
}

}  // namespace pfc
