#include "pfc/comm/gpus.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <bit>

#include "pfc/base/error.h"

namespace pfc {
namespace {

/// LibTorch's CUDA kernels register themselves when their library is loaded. Programs that find no
/// GPU start without this library, which has a gigabyte.
bool load_kernels() {
  if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr)
    throw Error(std::string("there is a GPU, but LibTorch's kernels for it: ") + ::dlerror());
  return true;
}

}  // namespace

int gpus() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return 0;
  static const bool loaded = load_kernels();
  return loaded ? count : 0;
}

int gpu_of(int local_rank) {
  return local_rank % gpus();
}

Gpu gpu_properties(int number) {
  // The guard returns to the former device without making a context there, which would take memory
  // on GPU 0 for every rank.
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(number));
  cudaDeviceProp properties{};
  std::size_t free = 0, total = 0;
  if (cudaGetDeviceProperties(&properties, number) != cudaSuccess ||
      cudaMemGetInfo(&free, &total) != cudaSuccess)
    throw Error("GPU " + std::to_string(number) + ": " + cudaGetErrorString(cudaGetLastError()));
  constexpr int kAmpere = 8;
  return {.name = properties.name,
          .id = std::bit_cast<GpuId>(properties.uuid),
          .bytes = static_cast<std::int64_t>(total),
          .free_bytes = static_cast<std::int64_t>(free),
          .has_bfloat16 = properties.major >= kAmpere};
}

std::int64_t peak_gpu_memory(int number) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return allocator::getDeviceStats(static_cast<c10::DeviceIndex>(number)).reserved_bytes[kAll].peak;
}

}  // namespace pfc
