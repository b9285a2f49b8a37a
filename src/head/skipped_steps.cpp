#include "head/skipped_steps.h"

namespace pfc {

SkippedSteps::Map SkippedSteps::then(const Map& first, const Map& second) {
  return {second[0] * first[0] + second[1] * first[2], second[0] * first[1] + second[1] * first[3],
          second[2] * first[0] + second[3] * first[2], second[2] * first[1] + second[3] * first[3]};
}

void SkippedSteps::push(double lr) {
  const Map step = {1 - lr * weight_decay_, -lr * momentum_, weight_decay_, momentum_};
  const std::size_t begin = block_begin();
  for (std::size_t i = begin; i < to_block_end_.size(); ++i)
    to_block_end_[i] = then(to_block_end_[i], step);
  learning_rates_.push_back(lr);
  if (block_begin() != begin) {  // it was the block's last
    for (Map& map : to_last_block_) map = then(map, to_block_end_[begin]);
    to_last_block_.push_back(kIdentity);
  }
  to_block_end_.push_back(kIdentity);
}

kernels::formulas::CatchUp SkippedSteps::since(std::int64_t steps) const {
  const auto first = static_cast<std::size_t>(steps);
  Map map = to_block_end_[first];
  if (first < block_begin())
    map = then(then(map, to_last_block_[first / kBlock]), to_block_end_[block_begin()]);
  return {static_cast<float>(map[0] - 1), static_cast<float>(map[1]), static_cast<float>(map[2]),
          static_cast<float>(map[3])};
}

}  // namespace pfc
