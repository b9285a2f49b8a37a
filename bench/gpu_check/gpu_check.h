#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "head/kernels/kernels_cuda.h"
#include "pfc/base/random.h"
#include "pfc/head/partial_fc.h"

/// What a GPU makes of the head and of training: see main.cpp.
namespace pfc::gpu_check {

inline constexpr std::int64_t kDim = 512;
inline const at::Device kGpu(at::kCUDA, 0);

/// Prints a line of the checks: the value, and its limit.
void expect_below(const std::string& what, double found, double limit);
/// Prints that a check failed.
void fail(const std::string& what);
int failures();

/// ‖found − wanted‖ / ‖wanted‖ in float64.
double error_of(const at::Tensor& found, const at::Tensor& wanted);
/// From N(0, 1), on the GPU.
at::Tensor random(at::IntArrayRef shape, at::ScalarType type = at::kFloat);
std::string name(at::ScalarType type);

kernels::cuda::Stream stream();
void wait_for_gpu();
/// The median number of milliseconds that body() takes on the GPU when it is called many times in a
/// row.
double milliseconds(int rounds, int calls, const std::function<void()>& body);
void give_memory_back();

/// Classes, and the labels of a batch among them.
struct HeadCase {
  std::int64_t identities = 20'000;
  double rate = 0.3;
  std::int64_t batch = 256;
  PartialFcOptions head = {};
  bool in_host_memory = false;  ///< the GPU's table
  std::int64_t micro_batches = 1;
  bool learnt =
      false;  ///< samples lie near their own centres, so that other classes are improbable
};
std::vector<GlobalClass> labels_of(const HeadCase& c, std::int64_t step);
/// A step of the head -> the gradient of the embeddings.
at::Tensor head_step(PartialFc& head, const SampledClasses& classes, const at::Tensor& embeddings,
                     const at::Tensor& valid, Communicator& comm, double lr = 0.1,
                     std::int64_t micro_batches = 1, const at::Tensor& skip = {});

// The parts. Each prints what it finds.

// Compares every kernel with the CPU's and with float64.
void check_row_kernels();
void check_softmax_kernels();
/// Compares steps of the head with the CPU's head.
void check_heads();
/// Checks the embeddings of r18, and a hundred steps of it with the head.
void check_training();
/// Compares the head's speed with plain LibTorch and with the card's own ceilings.
void measure_heads();
/// Measures the speed of a tile's GEMMs, and with LibTorch's profiler how long each kernel takes in
/// a step of the head and of training.
void profile();

/// What a process measures. Each measurement has a process of its own, so that none finds memory of
/// another.
struct HeadArguments {
  std::int64_t identities = 0;
  double rate = 0;
  NumberType table = NumberType::kFloat32;
  std::string way = {};  ///< "ours", "host" (its table in host memory), "dense", "gather"

  HeadCase head_case() const;
};
/// Prints milliseconds, or that it does not fit, and ends this process.
[[noreturn]] void measure_one(const HeadArguments& arguments);

}  // namespace pfc::gpu_check
