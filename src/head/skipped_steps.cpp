#include "head/skipped_steps.h"

namespace pfc {

SkippedSteps::Map SkippedSteps::then(const Map& first, const Map& second) {
  return {second.w_w * first.w_w + second.w_v * first.v_w,
          second.w_w * first.w_v + second.w_v * first.v_v,
          second.v_w * first.w_w + second.v_v * first.v_w,
          second.v_w * first.w_v + second.v_v * first.v_v};
}

void SkippedSteps::push(double lr) {
  const Map step = kernels::without_gradient(optimizer_, lr);
  const std::size_t begin = block_begin();
  for (std::size_t i = begin; i < to_block_end_.size(); ++i)
    to_block_end_[i] = then(to_block_end_[i], step);
  learning_rates_.push_back(lr);
  if (block_begin() != begin) {  // it was the last of its block
    for (Map& map : to_last_block_) map = then(map, to_block_end_[begin]);
    to_last_block_.push_back(kIdentity);
  }
  to_block_end_.push_back(kIdentity);
}

kernels::CatchUp SkippedSteps::since(std::int64_t steps) const {
  const auto first = static_cast<std::size_t>(steps);
  Map map = to_block_end_[first];
  if (first < block_begin())
    map = then(then(map, to_last_block_[first / kBlock]), to_block_end_[block_begin()]);
  return {static_cast<float>(map.w_w - 1), static_cast<float>(map.w_v), static_cast<float>(map.v_w),
          static_cast<float>(map.v_v)};
}

}  // namespace pfc
