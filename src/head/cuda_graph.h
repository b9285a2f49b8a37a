#pragma once

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <functional>

namespace pfc {

/// GPU work that is the same each time. It is recorded once and then launched as a whole, which
/// costs the host one call and not hundreds.
class CudaGraph {
 public:
  explicit CudaGraph(const c10::cuda::CUDAStream& stream) : stream_(stream) {}
  ~CudaGraph() { forget(); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// Puts `work` on the current stream, which must be `stream`'s. The first time it runs
  /// unrecorded, because libraries then reserve what they need; the second time it is recorded;
  /// from then on the record is launched. What `work` reads and writes must stay at the same
  /// address; otherwise call `forget`.
  void run(const std::function<void()>& work);
  void forget();

 private:
  void record(const std::function<void()>& work);

  c10::cuda::CUDAStream stream_;
  bool has_run_ = false;
  cudaGraphExec_t recorded_ = nullptr;
  c10::cuda::MempoolId_t pool_ = {0, 0};  ///< for memory that was allocated during recording
};

}  // namespace pfc
