#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "pfc/head/partial_fc.h"

namespace pfc {

/// Streams that take tiles in turn on a GPU.
inline constexpr int kGpuLanes = 4;

/// How many parts of a tile's classes a GPU sums at the same time: a power of two, at most
/// kMostSumParts. The sums of N samples alone, [N, d], give too few blocks for its multiprocessors:
/// for 1,024 samples with 512 numbers 32 blocks of 128 × 128, and an H100 has 132.
std::int64_t sum_parts(std::int64_t samples, std::int64_t dim);
inline constexpr std::int64_t kMostSumParts = 8;

/// PartialFc's work on one kind of device; the header of PartialFc says what each function does.
class HeadSteps {
 public:
  virtual ~HeadSteps() = default;
  virtual void begin(const SampledClasses& classes, const at::Tensor& valid) = 0;
  virtual void extend(const SampledClasses& classes, const at::Tensor& valid) = 0;
  virtual void prefetch(const SampledClasses&) {}
  /// Afterwards the table holds all updates.
  virtual void settle() {}
  /// Rows were caught up, or the table's parts lie elsewhere now too.
  virtual void table_changed(bool moved) = 0;
  virtual void forward(const Embeddings& embeddings, Communicator& comm, std::int64_t first) = 0;
  virtual void exchange(Communicator& comm) = 0;
  virtual at::Tensor loss() const = 0;
  virtual const at::Tensor& d_embeddings() const = 0;
  virtual const at::Tensor& d_lengths() const = 0;
  virtual at::Tensor moving_numbers() const = 0;
  virtual void weigh(const at::Tensor& factor, PartialFc::GradientsOf what) = 0;
  virtual void update(double lr, Pending& in_flight, const at::Tensor& skip) = 0;
  virtual void accumulate(Pending& in_flight) = 0;
};

// Options and table must outlive the result.

std::unique_ptr<HeadSteps> make_cpu_head(const PartialFcOptions& options, CenterTable& table);
/// Throws Error if this program was built without CUDA.
std::unique_ptr<HeadSteps> make_gpu_head(const PartialFcOptions& options, CenterTable& table);

}  // namespace pfc
