#include "pfc/train/schedule.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace pfc {

LearningRate::LearningRate(const Config::Schedule& schedule, std::int64_t steps)
    : schedule_(schedule),
      steps_(steps),
      warmup_steps_(std::llround(schedule.warmup * static_cast<double>(steps))) {
  assert(steps > 0);
}

double LearningRate::at(std::int64_t step) const {
  assert(step >= 0);
  if (step < warmup_steps_) {
    return schedule_.lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps_ + 1);
  }
  if (schedule_.kind == Decay::kStep) {
    const auto passed = std::ranges::upper_bound(schedule_.milestones, step);
    return schedule_.lr *
           std::pow(schedule_.factor, std::distance(schedule_.milestones.begin(), passed));
  }
  if (step >= steps_) return 0;
  const double progress =
      static_cast<double>(step - warmup_steps_) / static_cast<double>(steps_ - warmup_steps_);
  return schedule_.lr * std::pow(1 - progress, schedule_.power);
}

}  // namespace pfc
