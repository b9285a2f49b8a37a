#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string_view>
#include <vector>

#include "pfc/base/field.h"
#include "pfc/base/on_gpu.h"

/// What a loss is made of. All losses here end in a softmax over s·cosine, so a loss says what
/// becomes of the cosines before it. Each is one file beside this one, in scalars, for CPUs and
/// GPUs alike; `pfc/head/loss.h` lists them. The head's passes know no loss by name. What a loss
/// does not mention is not compiled into its passes.
///
/// A loss is a plain struct: its settings are its members. It has
///
/// - `static constexpr std::string_view kName`: what configurations call it;
/// - `static constexpr std::string_view kFormula`: one line for the reference;
/// - `OwnCosine own(const LossSample&) const`: what becomes of a sample's own cosine.
///
/// It may have
///
/// - `double m`: the setting head.m;
/// - `std::vector<Field> fields()`: its other settings, bound to its members;
/// - `std::string wrong() const`: what no setting alone can tell; empty if nothing is wrong;
/// - `kUsesLength = true`: then LossSample::length is known;
/// - `kHasLengthGradient = true`: and the loss has a gradient by it;
/// - `LossTerm penalty(double length) const`: added to a sample's loss;
/// - `kDraws = true`: then LossSample::normal is drawn;
/// - `std::int64_t centers_a_class() const`: rows that a class has; the nearest one counts;
/// - `kSharesCosines = true`: every rank knows the own cosines of all samples before the others are
///   looked at. `bound` needs that, and `observed` if it looks at the cosine.
///
/// A loss may keep numbers that move with the batches, from step to step:
///
/// - `struct Moving`: doubles alone, with their first values;
/// - `double observed(const LossSample&) const`: what is looked at of each sample;
/// - `void follow(const LossBatch&, Moving&) const`: moves the numbers. It gets the mean and the
///   deviation of what was observed over the global batch, before the batch uses the numbers;
/// - `OwnCosine own(const LossSample&, const Moving&) const` in place of the one above.
///
/// A loss may bend the cosines of all other classes:
///
/// - `double bound(double own_cosine) const`: a number of each sample;
/// - `OtherCosine other(float cosine, float bound, const Moving&) const`. A class that does not
///   count has the cosine −∞, which must stay −∞. Instead of branches use `pick`: then the compiler
///   makes vector instructions of it;
/// - `static constexpr double kMostOther`: of cosines within [−1, 1] `other` makes values within
///   [−1, kMostOther], with slopes within ±8. A GPU then needs no running maximum.
///
/// Functions that run on GPUs are marked PFC_ON_GPU. They must not throw.
namespace pfc {

/// What a loss may know of one sample.
struct LossSample {
  double cosine = 0;  ///< of its embedding and the centre of its own class, within [−1, 1]
  double length = 0;  ///< of its embedding before that was normalised
  double normal = 0;  ///< a draw from N(0, 1): a function of (seed, step, place in the batch)
};

/// What becomes of a sample's own cosine. Its logit is s · value.
struct OwnCosine {
  double value = 0;
  double slope = 1;      ///< derivative of `value` by the cosine
  double by_length = 0;  ///< derivative of `value` by the length
};

/// What becomes of the cosine of another class. Its logit is s · value.
struct OtherCosine {
  float value;
  float slope;  ///< derivative of `value` by the cosine
};

/// What is added to a sample's loss, and its derivative by the length.
struct LossTerm {
  double value = 0, slope = 0;
};

/// The observed number over the valid samples of the global batch.
struct LossBatch {
  double count = 0, mean = 0;
  double deviation = 0;  ///< divides by count − 1; 0 where there is one sample
};

/// The numbers of a loss that keeps none.
struct NoMoving {};

/// a where `condition` holds, else b. Both are computed, so there is no branch.
PFC_ON_GPU inline float pick(bool condition, float a, float b) {
  return condition ? a : b;
}

/// x within [low, high]. By value, which GPUs need of constants; NaN stays NaN.
PFC_ON_GPU inline double clip(double x, double low, double high) {
  return x < low ? low : high < x ? high : x;
}

/// sin θ of a cosine, at least 1e-6, so that slopes stay finite at θ = 0 and θ = π.
PFC_ON_GPU inline double sine_of(double cosine) {
  constexpr double kLeast = 1e-6;
  return std::max(std::sqrt(1 - cosine * cosine), kLeast);
}

// What a loss wants, from what it mentions.

template <class L>
inline constexpr bool kLossUsesLength = requires {
  requires L::kUsesLength;
};
template <class L>
inline constexpr bool kLossHasLengthGradient = requires {
  requires L::kHasLengthGradient;
};
template <class L>
inline constexpr bool kLossDraws = requires {
  requires L::kDraws;
};
template <class L>
inline constexpr bool kLossSharesCosines = requires {
  requires L::kSharesCosines;
};
template <class L>
inline constexpr bool kLossHasPenalty = requires(const L& loss) {
  loss.penalty(1.0);
};
template <class L>
inline constexpr bool kLossMoves = requires {
  typename L::Moving;
};
template <class L>
inline constexpr bool kLossBends = requires(const L& loss) {
  loss.bound(1.0);
};

template <class L>
inline constexpr bool kLossBendsWithin = requires {
  L::kMostOther;
};

template <class L>
struct MovingOf {
  using type = NoMoving;
};
template <class L>
requires kLossMoves<L>
struct MovingOf<L> {
  using type = typename L::Moving;
};
template <class L>
using Moving = typename MovingOf<L>::type;

/// How many doubles a loss keeps.
template <class L>
inline constexpr std::int64_t kMovingNumbers =
    kLossMoves<L> ? static_cast<std::int64_t>(sizeof(Moving<L>) / sizeof(double)) : 0;

/// What `loss` makes of a sample's own cosine, which may lie outside [−1, 1] by a rounding.
template <class L>
PFC_ON_GPU OwnCosine own_cosine(const L& loss, LossSample sample, const Moving<L>& moving) {
  sample.cosine = clip(sample.cosine, -1, 1);
  if constexpr (kLossMoves<L>) {
    return loss.own(sample, moving);
  } else {
    return loss.own(sample);
  }
}

}  // namespace pfc
