#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <iterator>
#include <vector>

#include "head/kernels/kernels_cuda.h"
#include "head/table_state.h"
#include "pfc/plan/sampler.h"

namespace pfc {

/// The inputs that a step gives to the kernels, in a GPU's memory, sent on the current stream. They
/// stay at the same address from step to step, so that graphs may refer to them.
class StepInputs {
 public:
  StepInputs(at::Device device, std::int64_t centers_a_class)
      : device_(device), centers_(centers_a_class) {}

  void begin(const SampledClasses& classes);
  /// Makes room for micro-batches with this many samples. The address changes.
  void reserve(std::int64_t samples);
  /// Sends the step's samples beginning at `first`, with the step's scalars.
  void send_samples(std::int64_t first);
  /// How the optimizer updates the step's rows.
  void send_rule(const TableState& table, double lr);
  /// StepHistory::missed, where it is kept. Whether it moved: it outgrows its place now and then.
  bool send_missed(const StepHistory& history);

  std::int64_t rows() const { return scalars_.count; }             ///< S
  std::int64_t batch() const { return std::ssize(own_classes_); }  ///< B

  const kernels::cuda::StepScalars* scalars() const;
  /// [N] OwnClasses::targets.
  const std::int32_t* targets() const { return numbers(0); }
  // See kernels::cuda::OwnedOrder.
  const std::int32_t* owned_samples() const { return numbers(1); }
  const std::int32_t* owned_places() const { return numbers(2); }
  /// Undefined if no row misses a step.
  const at::Tensor& missed() const { return missed_; }

 private:
  /// The n-th group of N numbers after the scalars.
  const std::int32_t* numbers(std::int64_t n) const;

  at::Device device_;
  std::int64_t centers_;
  kernels::cuda::StepScalars scalars_;
  std::vector<SampledPlace> own_classes_;  ///< [B] SampledClasses::targets
  std::int64_t samples_ = 0;
  at::Tensor sent_;                ///< int32: the scalars, [3, N] targets, owned samples, places
  std::int32_t missed_steps_ = 0;  ///< n + 1
  at::Tensor missed_;              ///< [≥ n + 1, 4]
};

}  // namespace pfc
