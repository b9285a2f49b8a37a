#pragma once

#include <cuda_runtime_api.h>

#include <functional>

/// A GPU that is none: CUDA's run time, NCCL and LibTorch's kernels for GPUs, made of the CPU's, so
/// that everything the programs do on a GPU is run where there is none. What it is not: fast, or
/// asynchronous. Work is done when it is submitted. So that a wait which is missing shows, whoever
/// should have waited, SIMULATED_GPU_LATE=all has it done as late as can be, when somebody waits
/// for it; =default that of the default stream alone, and all other before it; =random at random,
/// by the same numbers each time.
///
/// Programs are to run with OMP_NUM_THREADS=1: other threads of a loop may not touch the memory.
///
/// What it does notice: the host's touching a GPU's memory (it ends the program with a stack),
/// tensors of the host or of another GPU among an operator's, memory that is read before it was
/// written (it holds NaN), in a graph whatever cannot be recorded, and if it is told to
/// (SIMULATED_GPU_GUARDS, SIMULATED_GPU_BACKWARDS), what reaches beyond an allocation and what
/// depends on the order of threads.
namespace simulated_gpu {

/// Puts work on a stream, which may touch the GPU's memory; records it while a graph is recorded.
void submit(cudaStream_t stream, std::function<void()> work);
/// Returns when all is done that the stream holds.
void finish(cudaStream_t stream);
bool is_recording();
bool is_device_memory(const void* at);

/// This thread may touch the GPU's memory while one lives.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

}  // namespace simulated_gpu
