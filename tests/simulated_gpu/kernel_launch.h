#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "simulated_gpu/simulated_gpu.h"

/// What a kernel's source means on a CPU: launches_as_calls.py turns `kernel<<<blocks, threads,
/// bytes, stream>>>(…)` into a call of `launch`. Blocks run one after another. The threads of a
/// block take turns; each runs until it waits for others.
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
/// What a thread may show its warp at once.
using Shown = std::array<std::uint64_t, 3>;
/// Shows the warp's threads this thread's words and waits for theirs. Gives those of a lane, until
/// the next call.
class ShownByWarp {
 public:
  explicit ShownByWarp(const Shown& words);
  const Shown& operator[](unsigned lane) const;

 private:
  std::size_t meeting_;
};

/// What a thread has asked to be copied into shared memory; no source: zeros.
struct Copy {
  std::span<std::byte> to;
  const void* from;
};
/// The thread's groups of such copies that it has not waited for. The last one is not complete.
std::vector<std::vector<Copy>>& requested_copies();
/// The memory that the launch asked for, NaN at the start of each block.
std::span<std::byte> dynamic_shared();

void run_blocks(unsigned blocks, unsigned threads, std::size_t shared_bytes,
                const std::function<void()>& thread);

template <class Kernel>
auto launch(unsigned blocks, unsigned threads, int shared_bytes, cudaStream_t stream,
            const Kernel& kernel) {
  return [=](auto... arguments) {
    submit(stream, [=] {
      run_blocks(blocks, threads, static_cast<std::size_t>(shared_bytes),
                 [&] { kernel(arguments...); });
    });
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
  simulated_gpu::Shown words{};
  std::memcpy(words.data(), &x, sizeof(x));
  const simulated_gpu::ShownByWarp shown(words);
  std::memcpy(&x, shown[threadIdx.x % 32 ^ static_cast<unsigned>(step)].data(), sizeof(x));
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
