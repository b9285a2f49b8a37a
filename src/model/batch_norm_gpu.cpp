#include "model/batch_norm_gpu.h"

#include <ATen/Functions.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/autograd.h>

#include <optional>

#include "model/norm_kernels_cuda.h"
#include "model/saved_communicator.h"

namespace pfc::gpu_norm {
namespace {

namespace gpu = kernels::cuda;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<at::Tensor>;  // an autograd function takes no undefined tensor

gpu::Stream current(const at::Tensor& x) {
  return c10::cuda::getCurrentCUDAStream(x.device().index()).stream();
}

gpu::Operand operand(const at::Tensor& x) {
  const gpu::GemmType type = x.scalar_type() == at::kFloat  ? gpu::GemmType::kFloat32
                             : x.scalar_type() == at::kHalf ? gpu::GemmType::kFloat16
                                                            : gpu::GemmType::kBFloat16;
  return {const_cast<void*>(x.const_data_ptr()), type};
}
const void* data_or_null(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr() : nullptr;
}
const float* floats_or_null(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

gpu::NormRows rows_of(const at::Tensor& x) {
  return {x.numel() / x.size(1), x.size(1)};
}

/// In the memory order of the kernels, and of x's type.
at::Tensor like(const at::Tensor& x, const at::Tensor& other) {
  const auto order = x.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return other.to(x.scalar_type()).contiguous(order);
}

at::Tensor floats(const at::Tensor& x, at::IntArrayRef sizes) {
  return at::empty(sizes, x.options().dtype(at::kFloat).memory_format(std::nullopt));
}
at::Tensor doubles(const at::Tensor& x, at::IntArrayRef sizes) {
  return at::empty(sizes, x.options().dtype(at::kDouble).memory_format(std::nullopt));
}
at::Tensor new_parts(const at::Tensor& x, int kinds) {
  const gpu::NormRows rows = rows_of(x);
  return floats(x, {gpu::norm_parts(rows), kinds, rows.channels});
}

/// numbers [4, channels]: gpu::Norm's mean, scale, inverse and count.
gpu::Norm norm_of(const at::Tensor& numbers, const at::Tensor& bias, const at::Tensor& slope = {}) {
  auto* const first = static_cast<float*>(const_cast<void*>(numbers.const_data_ptr()));
  const std::int64_t channels = numbers.size(1);
  return {.mean = first,
          .scale = first + channels,
          .inverse = first + 2 * channels,
          .count = first + 3 * channels,
          .bias = bias.const_data_ptr<float>(),
          .slope = floats_or_null(slope)};
}

at::Tensor moments_of(const at::Tensor& x) {
  at::Tensor parts = new_parts(x, 2);
  gpu::add_moments(operand(x), rows_of(x), parts.data_ptr<float>(), current(x));
  return parts;
}

/// The numbers of a normalisation of x, whose moments lie in `parts`.
at::Tensor find_numbers(const at::Tensor& x, const at::Tensor& parts, const BatchNormState& state) {
  const gpu::NormRows rows = rows_of(x);
  at::Tensor numbers = floats(x, {4, rows.channels});
  const gpu::Norm norm = norm_of(numbers, state.bias);
  const gpu::NormState kept = {.weight = state.weight.const_data_ptr<float>(),
                               .running_mean = state.running_mean.data_ptr<float>(),
                               .running_var = state.running_var.data_ptr<float>(),
                               .momentum = state.momentum,
                               .epsilon = state.epsilon};
  if (state.comm == nullptr) {
    gpu::find_norm(operand(x), rows, parts.const_data_ptr<float>(), kept, norm, current(x));
    return numbers;
  }
  at::Tensor own = doubles(x, {1, 2 * rows.channels + 1});
  gpu::join_moments(operand(x), rows, parts.const_data_ptr<float>(), own.data_ptr<double>(),
                    current(x));
  const at::Tensor all = state.comm->all_gather(own).wait();
  gpu::find_norm_of_ranks(all.const_data_ptr<double>(), state.comm->world(), rows.channels, kept,
                          norm, current(x));
  return numbers;
}

/// What x becomes, and the parts of its moments if there is room for them.
at::Tensor normalise(const at::Tensor& x, const gpu::Norm& norm, const at::Tensor& residual,
                     float* parts) {
  at::Tensor y = at::empty_like(x);
  gpu::normalise(operand(x), rows_of(x), norm, data_or_null(residual), y.mutable_data_ptr(), parts,
                 current(x));
  return y;
}

/// [5, channels]: gpu::NormGradient's in their order.
struct Gradient {
  at::Tensor numbers;
  bool has_slope;

  gpu::NormGradient pointers() const {
    auto* const first = numbers.data_ptr<float>();
    const auto row = [&](int i) { return first + i * numbers.size(1); };
    return {row(0), row(1), has_slope ? row(2) : nullptr, row(3), row(4)};
  }
  at::Tensor weight() const { return numbers[0]; }
  at::Tensor bias() const { return numbers[1]; }
  at::Tensor slope() const { return has_slope ? numbers[2] : at::Tensor(); }
};

at::Tensor gradient_sums(const at::Tensor& x, const at::Tensor& dy, const gpu::Norm& norm) {
  at::Tensor parts = new_parts(x, norm.slope == nullptr ? 2 : 3);
  gpu::add_gradient_sums(operand(x), dy.const_data_ptr(), rows_of(x), norm, parts.data_ptr<float>(),
                         current(x));
  return parts;
}

Gradient find_gradient(const at::Tensor& x, const at::Tensor& parts, const gpu::Norm& norm,
                       Communicator* comm) {
  const gpu::NormRows rows = rows_of(x);
  const Gradient gradient{floats(x, {5, rows.channels}), norm.slope != nullptr};
  if (comm == nullptr) {
    gpu::find_gradient(rows, parts.const_data_ptr<float>(), norm, gradient.pointers(), current(x));
    return gradient;
  }
  const std::int64_t kinds = parts.size(1);
  at::Tensor own = doubles(x, {kinds, rows.channels});
  gpu::join_gradient_sums(rows, parts.const_data_ptr<float>(), static_cast<int>(kinds),
                          own.data_ptr<double>(), current(x));
  at::Tensor all = own.clone();
  comm->all_reduce(all).wait();
  gpu::find_gradient_of_ranks(own.const_data_ptr<double>(), all.const_data_ptr<double>(),
                              rows.channels, norm, gradient.pointers(), current(x));
  return gradient;
}

at::Tensor input_gradient(const at::Tensor& x, const at::Tensor& dy, const gpu::Norm& norm,
                          const Gradient& gradient, const at::Tensor& more = {},
                          const gpu::NormBefore& before = {}) {
  at::Tensor dx = at::empty_like(x);
  gpu::input_gradient(operand(x), dy.const_data_ptr(), rows_of(x), norm, gradient.pointers(),
                      data_or_null(more), dx.mutable_data_ptr(), before, current(x));
  return dx;
}

class Norm : public torch::autograd::Function<Norm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& /*weight*/, const at::Tensor& bias,
                            const MaybeTensor& maybe_slope, const MaybeTensor& residual,
                            const BatchNormState& state) {
    const at::Tensor slope = maybe_slope.value_or(at::Tensor());
    const at::Tensor numbers = find_numbers(x, moments_of(x), state);
    context->save_for_backward({x, numbers, bias, slope});
    context->saved_data["comm"] = as_value(state.comm);
    context->saved_data["adds"] = residual.has_value();
    return normalise(x, norm_of(numbers, bias, slope), residual.value_or(at::Tensor()),
                     /*parts=*/nullptr);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor dy = like(x, gradients[0]);
    const gpu::Norm norm = norm_of(saved[1], saved[2], saved[3]);
    const Gradient found = find_gradient(x, gradient_sums(x, dy, norm), norm,
                                         as_communicator(context->saved_data["comm"]));
    const at::Tensor of_residual = context->saved_data["adds"].toBool() ? dy : at::Tensor();
    return {input_gradient(x, dy, norm, found),
            found.weight(),
            found.bias(),
            found.slope(),
            of_residual,
            {}};
  }
};

class NormAddNorm : public torch::autograd::Function<NormAddNorm> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x,
                               const at::Tensor& /*weight*/, const at::Tensor& bias,
                               const at::Tensor& residual, const at::Tensor& /*next_weight*/,
                               const at::Tensor& next_bias, const BatchNormState& state,
                               const BatchNormState& next) {
    const at::Tensor numbers = find_numbers(x, moments_of(x), state);
    at::Tensor parts = new_parts(x, 2);
    const at::Tensor sum = normalise(x, norm_of(numbers, bias), residual, parts.data_ptr<float>());
    const at::Tensor next_numbers = find_numbers(sum, parts, next);
    context->save_for_backward({x, numbers, bias, sum, next_numbers, next_bias});
    context->saved_data["comm"] = as_value(state.comm);
    context->saved_data["next_comm"] = as_value(next.comm);
    context->set_materialize_grads(false);  // after the last block nobody uses the sum
    return {sum, normalise(sum, norm_of(next_numbers, next_bias), /*residual=*/{}, nullptr)};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &sum = saved[3];
    const gpu::Norm norm = norm_of(saved[1], saved[2]), next = norm_of(saved[4], saved[5]);
    const at::Tensor of_sum = gradients[0].defined() ? like(sum, gradients[0]) : at::Tensor();
    const at::Tensor dy = gradients[1].defined() ? like(sum, gradients[1]) : at::zeros_like(sum);

    const Gradient of_next = find_gradient(sum, gradient_sums(sum, dy, next), next,
                                           as_communicator(context->saved_data["next_comm"]));
    at::Tensor parts = new_parts(x, 2);
    const at::Tensor d_sum = input_gradient(
        sum, dy, next, of_next, of_sum, {x.const_data_ptr(), norm.mean, parts.data_ptr<float>()});
    const Gradient found =
        find_gradient(x, parts, norm, as_communicator(context->saved_data["comm"]));
    return {input_gradient(x, d_sum, norm, found),
            found.weight(),
            found.bias(),
            d_sum,
            of_next.weight(),
            of_next.bias(),
            {},
            {}};
  }
};

bool is_map(const at::Tensor& x) {
  const auto type = x.scalar_type();
  const bool has_type = type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
  const bool is_in_order =
      x.dim() == 2 || (x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast));
  return x.is_cuda() && has_type && is_in_order && x.size(1) % gpu::kNormWidth == 0 &&
         rows_of(x).count > 1;
}

}  // namespace

bool takes(const at::Tensor& x, const BatchNormState& state, const at::Tensor& slope) {
  const auto is_float = [](const at::Tensor& of) {
    return of.scalar_type() == at::kFloat && of.is_contiguous();
  };
  return is_map(x) && is_float(state.weight) && is_float(state.bias) &&
         is_float(state.running_mean) && is_float(state.running_var) &&
         (!slope.defined() || is_float(slope));
}

at::Tensor batch_norm(const at::Tensor& x, const BatchNormState& state, const at::Tensor& slope,
                      const at::Tensor& residual) {
  const auto maybe = [](const at::Tensor& of) {
    return of.defined() ? MaybeTensor(of) : std::nullopt;
  };
  return Norm::apply(like(x, x), state.weight, state.bias, maybe(slope),
                     residual.defined() ? MaybeTensor(like(x, residual)) : std::nullopt, state);
}

NormedSum norm_add_norm(const at::Tensor& x, const BatchNormState& state,
                        const at::Tensor& residual, const BatchNormState& next) {
  const variable_list both = NormAddNorm::apply(
      like(x, x), state.weight, state.bias, like(x, residual), next.weight, next.bias, state, next);
  return {both[0], both[1]};
}

}  // namespace pfc::gpu_norm
