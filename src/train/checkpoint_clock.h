#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "pfc/train/config.h"

namespace pfc {

/// Decides when a run saves a checkpoint: every so many steps, or by time, and at its end.
class CheckpointClock {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::minutes kInterval{10};
  static constexpr int kLeastShare = 20;  ///< saving takes at most 1/20 of the time

  CheckpointClock(const Config::Checkpoint& config, std::int64_t steps, Clock::time_point now)
      : config_(config), steps_(steps), saved_(now) {}

  /// Whether to save after `done` steps, whatever the time. The same on every rank.
  bool due_after(std::int64_t done) const {
    const auto is_multiple = [&](std::int64_t of) { return of > 0 && done % of == 0; };
    return done == steps_ || is_multiple(config_.keep_every) || is_multiple(config_.every);
  }
  /// Whether to save at this time.
  bool due_at(Clock::time_point now) const {
    return config_.every == 0 &&
           now - saved_ >= std::max<Clock::duration>(kInterval, kLeastShare * took_);
  }
  /// Call it after a checkpoint that was saved from `begin` to `end`.
  void saved(Clock::time_point begin, Clock::time_point end) {
    saved_ = end;
    took_ = end - begin;
  }

 private:
  Config::Checkpoint config_;
  std::int64_t steps_;
  Clock::time_point saved_;
  Clock::duration took_{0};
};

}  // namespace pfc
