#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pfc {

/// How many genuine pairs are accepted if at most a given share of the impostor pairs may be. A
/// pair is accepted if its score is above the threshold, and the threshold is the lowest that this
/// share allows. Pairs of equal score are accepted together or not at all.
struct AcceptRate {
  double wanted_far = 0;
  std::int64_t genuine = 0, impostors = 0;
  std::int64_t true_accepts = 0, false_accepts = 0;
  double above = 0;  ///< the threshold; −∞: everything is accepted

  double tar() const { return static_cast<double>(true_accepts) / static_cast<double>(genuine); }
  double far() const { return static_cast<double>(false_accepts) / static_cast<double>(impostors); }
  /// Whether one false accept is at most `wanted_far`. If not, no false accept is allowed.
  bool resolved() const { return 1.0 / static_cast<double>(impostors) <= wanted_far; }
};

/// How many impostor pairs may be accepted: ⌊far · impostors⌋, exact for a `far` that was written
/// as a decimal number.
std::int64_t allowed_accepts(double far, std::int64_t impostors);

/// How many of the genuine scores, in ascending order, lie above a threshold.
std::int64_t count_above(std::span<const double> ascending, double threshold);

}  // namespace pfc
