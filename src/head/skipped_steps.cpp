#include "head/skipped_steps.h"

namespace pfc {

void SkippedSteps::push(double lr) {
  const double v_w = weight_decay_, v_v = momentum_;
  const double w_w = 1 - lr * v_w, w_v = -lr * v_v;
  for (Map& map : to_now_) {
    map = {w_w * map[0] + w_v * map[2], w_w * map[1] + w_v * map[3], v_w * map[0] + v_v * map[2],
           v_w * map[1] + v_v * map[3]};
  }
  to_now_.push_back(kIdentity);
  learning_rates_.push_back(lr);
}

kernels::formulas::CatchUp SkippedSteps::since(std::int64_t steps) const {
  const Map& map = to_now_[static_cast<std::size_t>(steps)];
  return {static_cast<float>(map[0]), static_cast<float>(map[1]), static_cast<float>(map[2]),
          static_cast<float>(map[3])};
}

}  // namespace pfc
