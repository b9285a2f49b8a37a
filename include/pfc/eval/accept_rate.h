#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace pfc {

/// How many genuine pairs are accepted where at most a given share of the impostor pairs is: the
/// pairs whose score is above a threshold, which is the lowest that this share allows. Pairs of
/// equal score are accepted together or not at all.
struct AcceptRate {
  double wanted_far = 0;
  std::int64_t genuine = 0, impostors = 0;
  std::int64_t true_accepts = 0, false_accepts = 0;
  double above = 0;  ///< the threshold; −∞: everything is accepted

  double tar() const { return static_cast<double>(true_accepts) / static_cast<double>(genuine); }
  double far() const { return static_cast<double>(false_accepts) / static_cast<double>(impostors); }
  /// One false accept is no more than `wanted_far`; else none is allowed.
  bool resolved() const { return 1.0 / static_cast<double>(impostors) <= wanted_far; }
};

/// ⌊far · impostors⌋, exact for a `far` that is written as a decimal number: how many impostor
/// pairs may be accepted.
std::int64_t allowed_accepts(double far, std::int64_t impostors);

/// What a threshold accepts of genuine scores in ascending order.
std::int64_t count_above(std::span<const double> ascending, double threshold);

}  // namespace pfc
