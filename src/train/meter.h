#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/train/metrics.h"
#include "pfc/train/train_step.h"

namespace pfc {

/// Means over the steps since the last report.
class Meter {
 public:
  using Clock = std::chrono::steady_clock;

  void add(const StepResult& result, std::int64_t images);
  /// Makes means over the steps since the last report.
  TrainMetrics report(double seconds_waited);
  /// Leaves out what is not training: evaluation, saving.
  void exclude(Clock::duration time) { start_ += time; }

 private:
  Clock::time_point start_ = Clock::now();
  double loss_ = 0, waited_ = 0;
  std::int64_t images_ = 0, steps_ = 0;
};

/// What a rank sent in training steps.
class TrafficMeter {
 public:
  /// Adds a step, given the communicator's counts before and after it.
  void add(const TrafficByCollective& before, const TrafficByCollective& after);
  std::int64_t steps() const { return steps_; }
  /// The mean of a step, one line for each collective.
  std::string text() const;

 private:
  TrafficByCollective total_;
  std::int64_t steps_ = 0;
};

}  // namespace pfc
