#pragma once

// The formulas of the head's small kernels, one scalar at a time, for any number type. Every back
// end is tested against them; they are not meant to be fast.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include "pfc/base/on_gpu.h"
#include "pfc/base/random.h"
#include "pfc/head/losses/contract.h"

namespace pfc::kernels::formulas {

/// Norms count as at least this, as in torch.nn.functional.normalize.
inline constexpr double kLeastNorm = 1e-12;

/// unit = w / max(‖w‖, 1e-12); returns 1 / max(‖w‖, 1e-12).
template <typename T>
PFC_ON_GPU T normalize_row(const float* w, std::int64_t dim, T* unit) {
  T squares = 0;
  for (std::int64_t j = 0; j < dim; ++j) squares += static_cast<T>(w[j]) * static_cast<T>(w[j]);
  const T inverse = 1 / std::max(std::sqrt(squares), static_cast<T>(kLeastNorm));
  for (std::int64_t j = 0; j < dim; ++j) unit[j] = static_cast<T>(w[j]) * inverse;
  return inverse;
}

/// What becomes of the cosine of another class than the sample's own: a cosine above `filter`
/// leaves the softmax, since exp(−∞) = 0; the rest is the loss's.
template <class L>
PFC_ON_GPU OtherCosine other_cosine(const L& loss, float cosine, float filter, float bound,
                                    const Moving<L>& moving) {
  if (cosine > filter) cosine = -std::numeric_limits<float>::infinity();
  if constexpr (kLossBends<L>) {
    return loss.other(cosine, bound, moving);
  } else {
    return {cosine, 1};
  }
}

/// Mean and deviation of what a loss observes, in two passes: all are added, then all are added
/// again as squares. So the deviation loses no digits to a large mean.
struct BatchSum {
  double count = 0, sum = 0, squares = 0;

  PFC_ON_GPU void add(double x) {
    ++count;
    sum += x;
  }
  PFC_ON_GPU void add_square(double x) {
    const double off = x - sum / count;
    squares += off * off;
  }
  PFC_ON_GPU LossBatch batch() const {
    return {count, sum / count, count > 1 ? std::sqrt(squares / (count - 1)) : 0};
  }
  /// Not where there is no sample, or one has a number that is not finite: the loss's numbers must
  /// not follow that.
  PFC_ON_GPU bool is_finite() const { return count > 0 && std::isfinite(squares); }
};

/// The softmax's result for a sample's own class.
struct OwnLoss {
  double loss;  ///< −log p
  double rest;  ///< 1 − p, the other classes' share
};

/// Computed from the logit of a sample's own class and the log of the sum of the others'
/// exponentials. Both results are functions of their difference, so that a learnt sample, whose p
/// is near 1, loses no digits. If the own class were part of the sum, log(1 + ε) would keep only
/// the digits of ε that float32 holds beside 1.
PFC_ON_GPU inline OwnLoss own_loss(double log_others, double own_logit) {
  const double gap = log_others - own_logit, small = std::exp(-std::abs(gap));
  return {std::max(gap, 0.0) + std::log1p(small), (gap > 0 ? 1.0 : small) / (1 + small)};
}

/// exp(scale · cosine − shift), where shift is a maximum of the row's logits.
template <typename T>
PFC_ON_GPU T shifted_exp(T cosine, T scale, T shift) {
  return std::exp(scale * cosine - shift);
}

/// A bfloat16: the upper half of a float32.
enum class BFloat16 : std::uint16_t {};

PFC_ON_GPU inline float to_float(BFloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
}

/// Rounds to the nearest; of two equally near values, to the one that ends in 0. NaN stays NaN.
PFC_ON_GPU inline BFloat16 round_to_nearest(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return BFloat16{static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return BFloat16{static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

/// Rounds to one of the two neighbours, given 16 random bits: up with a probability equal to the
/// part that would be cut off. The mean is x, so a change below the type's resolution is not lost
/// but happens now and then.
PFC_ON_GPU inline BFloat16 round_stochastically(float x, std::uint16_t random) {
  return BFloat16{static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(x) + random) >> 16)};
}

/// The key for rounding one row in one step.
struct RoundingKey {
  std::uint32_t first, second;
};

/// 32 random bits for the j-th component of a row: a counter through an integer hash of two
/// multiplications (Wellons, "Prospecting for hash functions", 2018), keyed before and after.
PFC_ON_GPU inline std::uint32_t rounding_bits(const RoundingKey& key, std::uint32_t j) {
  std::uint32_t x = j * 0x9E3779B9u ^ key.first;
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return (x ^ x >> 16) ^ key.second;
}

/// Two numbers from N(0, 1) made of two random words, by Box and Muller's transform. The upper 24
/// bits of a word are used, which float32 holds exactly.
template <typename T>
PFC_ON_GPU std::array<T, 2> normal_pair(std::uint32_t first, std::uint32_t second) {
  constexpr T kUnit = static_cast<T>(0x1p-24);
  const T u = (static_cast<T>(first >> 8) + static_cast<T>(0.5)) * kUnit;
  const T angle = 2 * std::numbers::pi_v<T> * static_cast<T>(second >> 8) * kUnit;
  const T radius = std::sqrt(-2 * std::log(u));
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// LossSample::normal of the sample at a place in the batch.
PFC_ON_GPU inline double loss_draw(const CounterRandom& random, std::int64_t step,
                                   std::int64_t place) {
  const auto words =
      random.words(static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(place));
  return normal_pair<double>(words[0], words[1])[0];
}

}  // namespace pfc::kernels::formulas
