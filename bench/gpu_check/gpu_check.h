#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "head/kernels/kernels_cuda.h"
#include "pfc/base/random.h"
#include "pfc/head/partial_fc.h"

/// How fast a GPU is with the head and in training: see main.cpp.
namespace pfc::gpu_check {

inline constexpr std::int64_t kDim = 512;
inline const at::Device kGpu(at::kCUDA, 0);

/// Prints that something could not be measured.
void fail(const std::string& what);
int failures();

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
  std::int64_t identities = 0;
  double rate = 0;
  std::int64_t batch = 1024;
  PartialFcOptions head = {};
};
std::vector<GlobalClass> labels_of(const HeadCase& c, std::int64_t step);

/// The best that the card can do.
struct Ceilings {
  double bytes_a_second = 0,
         flops_a_second = 0;  ///< a copy's, read and written; a GEMM's in bfloat16
};
Ceilings measure_ceilings();

// The parts. Each prints what it finds.

/// Compares the head's speed with plain LibTorch and with the card's own ceilings, and measures it
/// with a hundred million identities.
void measure_heads();
/// Measures the speed of a tile's GEMMs, and with LibTorch's profiler how long each kernel takes in
/// a step of the head and of training.
void profile();

// What a process measures. Each measurement has a process of its own, so that none finds memory of
// another, and one that runs out of it ends only itself.

struct HeadArguments {
  std::int64_t identities = 0;
  double rate = 0;
  NumberType table = NumberType::kFloat32;
  /// "ours", "host" (its table in host memory), "stateless" (without momentum), "dense", "gather"
  std::string way = {};

  HeadCase head_case() const;
};
/// Prints milliseconds a step and the peak of the GPU's memory in GB; or why it was not run.
void measure_head(const HeadArguments& arguments);

struct SmallTrainingOptions;
/// Makes whole training steps for so many seconds. Prints, as JSON, seconds a step, the peak of the
/// GPU's memory in bytes, and the last loss.
void measure_training(const SmallTrainingOptions& options, double seconds);

}  // namespace pfc::gpu_check
