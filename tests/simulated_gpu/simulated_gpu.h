#pragma once

#include <functional>

/// A GPU that is none: CUDA's run time, NCCL and LibTorch's kernels for GPUs, made of the CPU's, so
/// that everything the programs do on a GPU is run where there is none. What it is not: fast, or
/// asynchronous. Work is done when it is submitted, so a wait that is missing is not noticed here.
///
/// Programs are to run with OMP_NUM_THREADS=1: other threads of a loop may not touch the memory.
///
/// What it does notice: the host's touching a GPU's memory (it ends the program with a stack),
/// tensors of the host or of another GPU among an operator's, memory that is read before it was
/// written (it holds NaN), in a graph whatever cannot be recorded, and if it is told to
/// (SIMULATED_GPU_GUARDS, SIMULATED_GPU_BACKWARDS), what reaches beyond an allocation and what
/// depends on the order of threads.
namespace simulated_gpu {

/// Does the work, which may touch the GPU's memory; records it while a graph is recorded.
void submit(std::function<void()> work);
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
