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

// The parts. Each prints what it finds.

/// Measures the speed of whole steps of r18 with the head.
void measure_training();
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
