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

}  // namespace

/// An id that no other code in this process uses; the allocator's own ids use the first number.
GraphMemory::GraphMemory() {
  static std::atomic<c10::CaptureId_t> next = 1;
  constexpr c10::CaptureId_t kOurs = c10::CaptureId_t{1} << 40;
  id_ = {0, kOurs + next++};
}

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
  // Work may fork to other streams; nothing else is put on any stream during recording.
  allocator::beginAllocateToPool(device, memory_.id(), [](cudaStream_t) { return true; });
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording a graph");
  work();
  check(cudaStreamEndCapture(stream_, &graph), "recording a graph");
  allocator::endAllocateToPool(device, memory_.id());
  const cudaError_t result = cudaGraphInstantiate(&recorded_, graph, 0);
  cudaGraphDestroy(graph);
  check(result, "preparing a graph");
}

void CudaGraph::forget() {
  if (recorded_ != nullptr) {
    cudaGraphExecDestroy(recorded_);
    allocator::releasePool(stream_.device_index(), memory_.id());
    memory_ = GraphMemory();  // a pool that was released is not filled again
  }
  recorded_ = nullptr;
  has_run_ = false;
}

}  // namespace pfc
