// The head of 100,000 classes on embeddings that come from anywhere: here they are drawn. The
// gradient that goes back to whoever made them is head.d_embeddings().
#include <ATen/ATen.h>
#include <pfc/head/partial_fc.h>

#include <vector>

/// The loss after `steps` steps.
double train_head(int steps) {
  constexpr std::int64_t kClasses = 100'000, kDim = 64, kBatch = 32;
  const auto comm = pfc::make_self_communicator();
  const pfc::ClassShard shard(kClasses, comm->rank(), comm->world());
  const pfc::ClassSampler sampler({.sample_rate = 0.01}, shard);
  pfc::PartialFcOptions options;
  options.table.dim = kDim;
  options.scale = 16;
  pfc::PartialFc head(options, shard);

  std::vector<pfc::GlobalClass> labels;
  for (std::int64_t i = 0; i < kBatch; ++i) labels.push_back({i * 1000});
  const at::Tensor drawn = at::randn({kBatch, kDim});
  const at::Tensor x = drawn / drawn.norm(2, {1}, true);  // unit length
  for (int step = 0; step < steps; ++step) {
    head.begin(sampler.draw(step, labels), at::ones(kBatch));
    head.forward({comm->all_gather(x).wait()}, *comm);
    head.exchange(*comm);
    pfc::Pending dx = comm->reduce_scatter(head.d_embeddings());
    head.update(/*lr=*/1, dx);
    dx.wait();  // [kBatch, kDim], for the network behind x
  }
  return head.loss();
}
