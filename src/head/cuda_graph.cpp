#include "head/cuda_graph.h"

#include <atomic>
#include <string>

#include "pfc/base/error.h"

namespace pfc {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

void check(cudaError_t result, const char* call) {
  if (result != cudaSuccess) throw Error(std::string(call) + ": " + cudaGetErrorString(result));
}

/// The id of a pool that no other code in this process uses; the allocator's own ids use the first
/// number.
c10::cuda::MempoolId_t new_pool() {
  static std::atomic<c10::CaptureId_t> next = 1;
  constexpr c10::CaptureId_t kOurs = c10::CaptureId_t{1} << 40;
  return {0, kOurs + next++};
}

}  // namespace

void CudaGraph::run(const std::function<void()>& work) {
  if (!has_run_) {
    work();
    has_run_ = true;
    return;
  }
  if (recorded_ == nullptr) record(work);
  check(cudaGraphLaunch(recorded_, stream_), "launching a graph");
}

void CudaGraph::record(const std::function<void()>& work) {
  const auto device = stream_.device_index();
  pool_ = new_pool();
  // Work may fork to other streams; nothing else is put on any stream during recording.
  allocator::beginAllocateToPool(device, pool_, [](cudaStream_t) { return true; });
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording a graph");
  work();
  check(cudaStreamEndCapture(stream_, &graph), "recording a graph");
  allocator::endAllocateToPool(device, pool_);
  const cudaError_t result = cudaGraphInstantiate(&recorded_, graph, 0);
  cudaGraphDestroy(graph);
  check(result, "preparing a graph");
}

void CudaGraph::forget() {
  if (recorded_ != nullptr) {
    cudaGraphExecDestroy(recorded_);
    allocator::releasePool(stream_.device_index(), pool_);
  }
  recorded_ = nullptr;
  has_run_ = false;
}

}  // namespace pfc
