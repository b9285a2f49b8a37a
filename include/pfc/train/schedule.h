#pragma once

#include <cstdint>

#include "pfc/train/config.h"

namespace pfc {

/// The learning rate of every step, a pure function of the step. T is the number of the run's
/// steps, W = round(warmup · T), and step s counts from 0:
///
///     s < W         lr · (s + 1) / (W + 1)                    warm-up, of both kinds
///     kPolynomial   lr · (1 − (s − W) / (T − W))^power        InsightFace's PolyScheduler
///     kStep         lr · factor^(number of milestones ≤ s)    the MXNet recipe
///
/// The first step of a warm-up has neither a rate of 0 nor the full rate; step W is the first with
/// the full rate. A polynomial would reach 0 at step T.
class LearningRate {
 public:
  /// `steps` > 0: T, the length of the whole run.
  LearningRate(const Config::Schedule& schedule, std::int64_t steps);

  /// `step` counts from 0; from T on a polynomial stays 0.
  double at(std::int64_t step) const;

 private:
  Config::Schedule schedule_;
  std::int64_t steps_;
  std::int64_t warmup_steps_;
};

}  // namespace pfc
