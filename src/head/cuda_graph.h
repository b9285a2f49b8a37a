#pragma once

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <functional>

namespace pfc {

/// Names memory for what is allocated during recordings; a copy names the same. Graphs that share
/// it are launched in the order in which they were recorded, because what one has freed the next
/// ones use.
class GraphMemory {
 public:
  GraphMemory();
  c10::cuda::MempoolId_t id() const { return id_; }

 private:
  c10::cuda::MempoolId_t id_;
};

/// GPU work that is the same each time. It is recorded once and then launched as a whole, which
/// costs the host one call and not hundreds.
class CudaGraph {
 public:
  explicit CudaGraph(const c10::cuda::CUDAStream& stream, const GraphMemory& memory = {})
      : stream_(stream), memory_(memory) {}
  ~CudaGraph() { forget(); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// Puts `work` on the current stream, which must be `stream`'s. The first time it runs
  /// unrecorded, because libraries then reserve what they need; the second time it is recorded;
  /// from then on the record is launched. What `work` reads and writes must stay at the same
  /// address; otherwise call `forget`.
  void run(const std::function<void()>& work);
  /// Whether the next `run` launches the record, and does not call `work`.
  bool is_recorded() const { return recorded_ != nullptr; }
  /// Whether the next `run` records.
  bool is_to_be_recorded() const { return has_run_ && !is_recorded(); }
  void forget();

 private:
  void record(const std::function<void()>& work);

  c10::cuda::CUDAStream stream_;
  bool has_run_ = false;
  cudaGraphExec_t recorded_ = nullptr;
  GraphMemory memory_;
};

}  // namespace pfc
