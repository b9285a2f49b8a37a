#pragma once

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
  explicit OurHead(const HeadCase& c);

  std::int64_t sampled() const { return draws_.front().count(); }
  void step();
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
