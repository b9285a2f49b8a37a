#include "pfc/train/loss_scaler.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <limits>

namespace pfc {

LossScaler::LossScaler(at::Device device)
    : scale_(at::full({1}, kFirst, at::TensorOptions(device).dtype(at::kFloat))),
      steps_(at::zeros({1}, at::TensorOptions(device).dtype(at::kInt))),
      skipped_(at::zeros_like(scale_)) {}

at::Tensor LossScaler::scaled(const at::Tensor& gradient) const {
  return gradient * scale_;
}

at::Tensor LossScaler::unscale(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  at::Tensor found = at::zeros_like(scale_);
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, found, scale_.reciprocal());
  return found;
}

void LossScaler::update(const at::Tensor& overflow) {
  skipped_.add_(overflow);
  at::_amp_update_scale_(scale_, steps_, overflow, kGrowth, kBackoff, kSteps);
}

/// A checkpoint lacks them where its run had another train.precision.
void LossScaler::add_to(RunState& state) const {
  constexpr double kLeast = std::numeric_limits<float>::min();
  state.add("loss_scaler.factor", scale_, {.least = kLeast, .is_optional = true});
  state.add("loss_scaler.steps", steps_, {.least = 0, .is_optional = true});
  state.add("loss_scaler.skipped", skipped_, {.least = 0, .is_optional = true});
}

}  // namespace pfc
