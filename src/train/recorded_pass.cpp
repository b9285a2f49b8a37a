#include "train/recorded_pass.h"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>
#include <utility>

#include "head/cuda_graph.h"
#include "head/on_stream.h"

namespace pfc {
namespace {

/// Copies to where a graph reads.
void put(const at::Tensor& from, at::Tensor& place) {
  if (!from.defined()) return;
  if (!place.defined()) place = at::empty_like(from, at::MemoryFormat::Contiguous);
  place.copy_(from);
}

TrafficByCollective between(const TrafficByCollective& before, TrafficByCollective after) {
  for (std::size_t i = 0; i < after.size(); ++i) {
    after[i].calls -= before[i].calls;
    after[i].bytes -= before[i].bytes;
  }
  return after;
}

class RecordedPass final : public BackbonePass {
 public:
  RecordedPass(std::unique_ptr<BackbonePass> plain, Training& training)
      : plain_(std::move(plain)),
        gradients_(training.gradients),
        comm_(training.comm),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false,
                                             training.head.device().index())) {
    // All batches have the same size, so the fastest convolutions are looked for once.
    at::globalContext().setBenchmarkCuDNN(true);
  }

  Embeddings forward(const at::Tensor& pixels) override {
    const bool is_new = !pixels_.defined() || pixels_.sizes() != pixels.sizes();
    if (is_new) begin_anew();
    // What the plain pass needed is free, but cached: without this there would be two such pools.
    if (forward_->graph.is_to_be_recorded()) c10::cuda::CUDACachingAllocator::emptyCache();
    put(pixels, pixels_);
    run(*forward_, [&] {
      const Embeddings x = plain_->forward(pixels_);
      x_ = {x.unit.detach(), x.lengths.defined() ? x.lengths.detach() : at::Tensor()};
    });
    return x_;
  }

  /// If a step has one micro-batch, its sums over ranks are in the graph, beside the backward pass.
  /// Otherwise the graph is the same for all micro-batches, and the sums come after it.
  void backward(const at::Tensor& d_unit, const at::Tensor& d_lengths, bool is_last) override {
    if (!has_sums_) has_sums_ = is_last;
    put(d_unit, d_unit_);
    put(d_lengths, d_lengths_);
    run(*backward_, [&] { plain_->backward(d_unit_, d_lengths_, *has_sums_); });
    if (!is_last || *has_sums_) return;
    gradients_.send_when_full();
    gradients_.finish();
  }

 private:
  struct Recorded {
    Recorded(const c10::cuda::CUDAStream& stream, const GraphMemory& memory)
        : graph(stream, memory) {}

    CudaGraph graph;
    TrafficByCollective traffic = {};  ///< of its collectives
  };

  void begin_anew() {
    const GraphMemory memory;
    forward_.emplace(stream_, memory);
    backward_.emplace(stream_, memory);
    pixels_ = d_unit_ = d_lengths_ = at::Tensor();
    has_sums_.reset();
  }

  template <class Work>
  void run(Recorded& recorded, const Work& work) {
    const TrafficByCollective before = comm_.traffic();
    const bool is_relaunched = recorded.graph.is_recorded();
    on_stream(stream_, [&] { recorded.graph.run(work); });
    if (is_relaunched) {
      comm_.relaunched(recorded.traffic);
    } else {
      recorded.traffic = between(before, comm_.traffic());
    }
  }

  std::unique_ptr<BackbonePass> plain_;
  GradientBuckets& gradients_;
  Communicator& comm_;
  c10::cuda::CUDAStream stream_;
  std::optional<Recorded> forward_, backward_;
  std::optional<bool> has_sums_;  ///< whether the backward pass has the sums over ranks
  // What the graphs read and write.
  at::Tensor pixels_, d_unit_, d_lengths_;
  Embeddings x_;
};

}  // namespace

std::unique_ptr<BackbonePass> make_recorded_pass(std::unique_ptr<BackbonePass> plain,
                                                 Training& training) {
  return std::make_unique<RecordedPass>(std::move(plain), training);
}

}  // namespace pfc
