// How fast a GPU is with the head, beside plain LibTorch and the card's own ceilings, and what
// bench/whole_steps.py asks: how fast it is in whole training steps. scripts/gpu_check.sh builds it
// and runs both, after gpu_tests.
//
//   gpu_check [--profile]
//   gpu_check --ceilings
//   gpu_check --training NETWORK BATCH PRECISION IDENTITIES RATE SECONDS
//   gpu_check --head IDENTITIES RATE TABLE WAY    (as it runs itself)

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "gpu_check/gpu_check.h"
#include "gpu_check/small_training.h"
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

/// Measures one thing and ends this process.
[[noreturn]] void measure_and_end(const std::function<void()>& body) {
  int status = 0;
  try {
    body();
  } catch (const c10::OutOfMemoryError&) {
    std::printf("does not fit\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_check: %s\n", error.what());
    status = 1;
  }
  std::fflush(stdout);
  std::_Exit(status);  // after running out of memory inside autograd, nothing is destroyed in order
}

void print_ceilings() {
  const Ceilings found = measure_ceilings();
  std::printf("{\"card\": \"%s\", \"bytes_a_second\": %.0f, \"flops_a_second\": %.0f}\n",
              gpu_properties(0).name.c_str(), found.bytes_a_second, found.flops_a_second);
}

HeadArguments head_arguments(const std::vector<std::string>& words) {
  return {.identities = std::stoll(words[1]),
          .rate = std::stod(words[2]),
          .table = *value_named<NumberType>(words[3]),
          .way = words[4]};
}

SmallTrainingOptions training_options(const std::vector<std::string>& words) {
  return {.network = words[1],
          .precision = words[3] == "float16"    ? at::kHalf
                       : words[3] == "bfloat16" ? at::kBFloat16
                                                : at::kFloat,
          .batch = std::stoll(words[2]),
          .identities = std::stoll(words[4]),
          .sample_rate = std::stod(words[5])};
}

int run(const std::vector<std::string>& words) {
  if (gpus() == 0) {
    std::printf("no GPU here: not run\n");
    return 77;
  }
  at::manual_seed(7);
  const std::string part = words.empty() ? "" : words.front();
  if (part == "--ceilings") measure_and_end(print_ceilings);
  if (part == "--head" && words.size() == 5)
    measure_and_end([&] { measure_head(head_arguments(words)); });
  if (part == "--training" && words.size() == 7)
    measure_and_end([&] { measure_training(training_options(words), std::stod(words[6])); });

  const Gpu card = gpu_properties(0);
  std::printf("%s, %.1f GB\n\n", card.name.c_str(), static_cast<double>(card.bytes) / 1e9);
  attempt(part == "--profile" ? profile : measure_heads);
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
  try {
    const int status = pfc::gpu_check::run(std::vector<std::string>(argv + 1, argv + argc));
    std::fflush(stdout);
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_check: %s\n", error.what());
    return 1;
  }
}
