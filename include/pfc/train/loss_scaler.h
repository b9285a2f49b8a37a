#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "pfc/train/run_state.h"

namespace pfc {

/// The factor that keeps the gradients of a float16 backbone within float16's range. The loss's
/// gradient is multiplied by it, and the parameters' gradients are divided by it. If one of them is
/// not finite, the step is skipped and the factor halved. After 2,000 steps in a row without that,
/// it is doubled (Micikevicius et al., arXiv 1710.03740; the numbers are PyTorch's). All of this
/// happens on the device, so the host need not wait.
class LossScaler {
 public:
  static constexpr double kFirst = 65536, kGrowth = 2, kBackoff = 0.5;
  static constexpr int kSteps = 2000;

  explicit LossScaler(at::Device device);

  at::Tensor scaled(const at::Tensor& gradient) const;
  /// Divides the gradients. Returns [1] float32 on the device, not 0 if one of them is not finite.
  /// It is the same on every rank if they are sums over ranks.
  at::Tensor unscale(const std::vector<at::Tensor>& gradients);
  /// Changes the factor after a step.
  void update(const at::Tensor& overflow);

  /// Lets checkpoints keep its numbers.
  void add_to(RunState& state) const;

  at::Tensor factor() const { return scale_; }     ///< [1] float32
  at::Tensor steps() const { return steps_; }      ///< [1] int32: in a row without an overflow
  at::Tensor skipped() const { return skipped_; }  ///< [1] float32: steps skipped so far

 private:
  at::Tensor scale_, steps_, skipped_;
};

}  // namespace pfc
