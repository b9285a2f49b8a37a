#pragma once

#include <torch/nn/functional/normalization.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "gpu_check/gpu_check.h"
#include "pfc/comm/communicator.h"
#include "pfc/head/partial_fc.h"
#include "pfc/plan/class_shard.h"
#include "pfc/plan/sampler.h"

namespace pfc::gpu_check {

/// Steps of our head with classes drawn in advance, as in training.
class OurHead {
 public:
  explicit OurHead(const HeadCase& c)
      : head_(c.head, ClassShard(c.identities, 0, 1)),
        comm_(make_self_communicator()),
        embeddings_(torch::nn::functional::normalize(random({c.batch, kDim}))),
        valid_(torch::ones({c.batch}, at::TensorOptions(kGpu))) {
    const ClassSampler sampler({.sample_rate = c.rate}, ClassShard(c.identities, 0, 1));
    for (std::int64_t step = 0; step < 4; ++step)
      draws_.push_back(sampler.draw(step, labels_of(c, step)));
  }

  std::int64_t sampled() const { return draws_.front().count(); }
  void step() {
    head_step(head_, next(), embeddings_, valid_, *comm_);
    ++step_;
    head_.prefetch(next());
  }
  double loss() const { return head_.loss(); }

 private:
  const SampledClasses& next() const { return draws_[step_ % draws_.size()]; }

  PartialFc head_;
  std::unique_ptr<Communicator> comm_;
  at::Tensor embeddings_, valid_;
  std::vector<SampledClasses> draws_;
  std::size_t step_ = 0;
};

}  // namespace pfc::gpu_check
