#include "gpu_check/our_head.h"

#include <torch/nn/functional/normalization.h>

namespace pfc::gpu_check {

std::vector<GlobalClass> labels_of(const HeadCase& c, std::int64_t step) {
  const CounterRandom numbers(1, RandomStream::kBenchmark);
  std::vector<GlobalClass> labels;
  for (std::int64_t i = 0; i < c.batch; ++i) {
    labels.push_back({numbers.below(c.identities, static_cast<std::uint64_t>(step),
                                    static_cast<std::uint64_t>(i))});
  }
  return labels;
}

OurHead::OurHead(const HeadCase& c)
    : head_(c.head, ClassShard(c.identities, 0, 1)),
      comm_(make_self_communicator()),
      embeddings_(torch::nn::functional::normalize(random({c.batch, kDim}))),
      valid_(torch::ones({c.batch}, at::TensorOptions(kGpu))) {
  const ClassSampler sampler({.sample_rate = c.rate}, ClassShard(c.identities, 0, 1));
  for (std::int64_t step = 0; step < 4; ++step)
    draws_.push_back(sampler.draw(step, labels_of(c, step)));
}

void OurHead::step() {
  head_.begin(next(), valid_);
  head_.forward({embeddings_}, *comm_);
  head_.exchange(*comm_);
  Pending in_flight = comm_->reduce_scatter(head_.d_embeddings());
  head_.update(/*lr=*/0.1, in_flight);
  in_flight.wait();
  ++step_;
  head_.prefetch(next());
}

}  // namespace pfc::gpu_check
