#pragma once

#include <cuda_runtime_api.h>

#include <functional>

/// A simulated GPU: CUDA's run time, NCCL and LibTorch's GPU kernels, implemented on the CPU, so
/// that everything the programs do on a GPU runs on machines without one. It is neither fast nor
/// asynchronous: by default work is done when it is submitted. To make missing waits visible,
/// SIMULATED_GPU_LATE=all does all work as late as possible, only when somebody waits for it;
/// =default does so only for the default stream's work, and all other work before it; =random works
/// at random times, with the same random numbers in each run.
///
/// Programs must run with OMP_NUM_THREADS=1: other threads of a loop may not touch the memory.
///
/// It notices: the host touching a GPU's memory (it ends the program with a stack trace); an
/// operator that gets tensors of the host or of another GPU; memory that is read before it was
/// written (it holds NaN); anything in a graph that cannot be recorded; and on request
/// (SIMULATED_GPU_GUARDS, SIMULATED_GPU_BACKWARDS) access beyond an allocation and results that
/// depend on the order of threads.
namespace simulated_gpu {

/// Puts work on a stream; the work may touch the GPU's memory. While a graph is recorded, the work
/// is recorded.
void submit(cudaStream_t stream, std::function<void()> work);
/// Returns when all work on the stream is done.
void finish(cudaStream_t stream);
/// Whether work on the stream is recorded.
bool is_recording(cudaStream_t stream);
/// Does work at once, after everything that waits on the streams: for what must be known while a
/// graph is recorded.
void do_now(const std::function<void()>& work);
bool is_device_memory(const void* at);

/// While one of these lives, this thread may touch the GPU's memory.
class Access {
 public:
  Access();
  ~Access();
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

}  // namespace simulated_gpu
