#pragma once

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <functional>

namespace pfc {

/// Work for a GPU that is the same each time: recorded once, then launched whole, which costs the
/// host a call instead of hundreds.
class CudaGraph {
 public:
  explicit CudaGraph(const c10::cuda::CUDAStream& stream) : stream_(stream) {}
  ~CudaGraph() { forget(); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// Puts `work` on the stream, which must be the current one: the first time as it is, which is
  /// when libraries reserve what they need, the second time recorded, from then on from the record.
  /// What `work` reads and writes must stay where it is, or be forgotten.
  void run(const std::function<void()>& work);
  void forget();

 private:
  void record(const std::function<void()>& work);

  c10::cuda::CUDAStream stream_;
  bool has_run_ = false;
  cudaGraphExec_t recorded_ = nullptr;
  c10::cuda::MempoolId_t pool_ = {0, 0};  ///< of what was allocated while it was recorded
};

}  // namespace pfc
