// How fast a GPU is in training, and with the head beside plain LibTorch and the card's own
// ceilings. scripts/gpu_check.sh builds and runs it, after gpu_tests.

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "gpu_check/gpu_check.h"
#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"

namespace pfc::gpu_check {
namespace {

int g_failures = 0;

/// Runs a part. If it cannot continue, the other parts still run.
void attempt(void (*part)()) {
  try {
    part();
  } catch (const std::exception& error) {
    fail(error.what());
  }
  give_memory_back();
  std::printf("\n");
  std::fflush(stdout);
}

/// Measures everything, or profiles.
int measure(const std::string& part) {
  if (gpus() == 0) {
    std::printf("no GPU here: not run\n");
    return 77;
  }
  const Gpu card = gpu_properties(0);
  std::printf("%s, %.1f GB\n\n", card.name.c_str(), static_cast<double>(card.bytes) / 1e9);
  at::manual_seed(7);
  torch::globalContext().setBenchmarkCuDNN(true);
  if (part == "--profile") {
    attempt(profile);
    return failures() == 0 ? 0 : 1;
  }
  attempt(measure_training);
  attempt(measure_heads);
  return failures() == 0 ? 0 : 1;
}

}  // namespace

void fail(const std::string& what) {
  ++g_failures;
  std::printf("FAILED: %s\n", what.c_str());
}

int failures() {
  return g_failures;
}

at::Tensor random(at::IntArrayRef shape, at::ScalarType type) {
  return torch::randn(shape, at::TensorOptions(kGpu)).to(type);
}

std::string name(at::ScalarType type) {
  return type == at::kFloat ? "float32" : type == at::kHalf ? "float16" : "bfloat16";
}

kernels::cuda::Stream stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

void wait_for_gpu() {
  const cudaError_t error = cudaDeviceSynchronize();
  if (error != cudaSuccess) throw Error(std::string("the GPU: ") + cudaGetErrorString(error));
}

void give_memory_back() {
  wait_for_gpu();
  c10::cuda::CUDACachingAllocator::emptyCache();
}

}  // namespace pfc::gpu_check

int main(int argc, char** argv) {
  using namespace pfc::gpu_check;
  try {
    if (argc == 6 && std::string(argv[1]) == "--head" && pfc::gpus() > 0) {
      measure_one({.identities = std::atoll(argv[2]),
                   .rate = std::atof(argv[3]),
                   .table = *pfc::value_named<pfc::NumberType>(argv[4]),
                   .way = argv[5]});
    }
    const int status = measure(argc > 1 ? argv[1] : "");
    std::fflush(stdout);
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_check: %s\n", error.what());
    return 1;
  }
}
