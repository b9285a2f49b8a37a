#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>

#include "simulated_gpu/simulated_gpu.h"

/// What a kernel's source means on a CPU: launches_as_calls.py turns `kernel<<<blocks, threads, 0,
/// stream>>>(…)` into a call of `launch`. Blocks run one after another. The threads of a block take
/// turns; each runs until it waits for others.
#undef __shared__
#define __shared__ static
#define __launch_bounds__(...)

namespace simulated_gpu {

struct Place {
  unsigned x = 0;
};
extern Place thread_in_block, block_in_grid, threads_of_block;

/// Waits for the other threads of the warp, or of the block.
void meet_warp();
void meet_block();
/// Shows the warp's threads this thread's value and returns the value of `other`.
std::uint64_t exchange(std::uint64_t bits, unsigned other);

void run_blocks(unsigned blocks, unsigned threads, const std::function<void()>& thread);

template <class Kernel>
auto launch(unsigned blocks, unsigned threads, int, cudaStream_t stream, const Kernel& kernel) {
  return [=](auto... arguments) {
    submit(stream, [=] { run_blocks(blocks, threads, [&] { kernel(arguments...); }); });
  };
}

}  // namespace simulated_gpu

#define threadIdx simulated_gpu::thread_in_block
#define blockIdx simulated_gpu::block_in_grid
#define blockDim simulated_gpu::threads_of_block

inline void __syncthreads() {
  simulated_gpu::meet_block();
}
inline void __syncwarp() {
  simulated_gpu::meet_warp();
}
template <class T>
T __shfl_xor_sync(unsigned, T x, int step) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof(x));
  bits = simulated_gpu::exchange(bits, threadIdx.x ^ static_cast<unsigned>(step));
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
template <class T>
T __ldcs(const T* at) {
  return *at;
}
template <class T>
void __stcs(T* at, std::type_identity_t<T> x) {
  *at = x;
}
inline float __uint_as_float(unsigned bits) {
  float x = 0;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}
using std::isfinite;
