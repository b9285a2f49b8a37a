#pragma once

#include <cmath>
#include <numbers>
#include <optional>
#include <variant>

#include "pfc/head/loss.h"

namespace pfc::kernels {

/// A shift for the exponentials of all samples' logits, whatever these are, with which bfloat16 and
/// float32 lose none of them: then a softmax needs no running maximum. None if the scale is too
/// large, or the loss does not say how large it makes a cosine.
///
/// Logits divided by the scale s lie within [−1, M]; M is 1 where the loss leaves the other classes
/// alone. Exponentials are kRaised·exp(logit − shift), and the shift makes the one in the middle of
/// the range 1; as a whole number, which float32 holds exactly, it does so up to 2^±0.8. So all are
/// within 2^±95.8 if s·log₂e·(M + 1)/2 is at most 95. Cosines of rounded vectors may exceed ±1 by
/// 2⁻⁷, which a loss doubles: 2^±97.3. A step has at most 10⁸ = 2^26.6 classes. Then
///
/// - a sample's sum of exponentials lies within 2^−97.3 and 2^123.9, and the embeddings' gradient,
///   with slopes within ±8, below 2^126.9; float32 and bfloat16 end at 2^128;
/// - the sum's inverse, which makes probabilities, lies within 2^−123.9 and 2^97.3; the smallest
///   numbers with all digits are 2^−126;
/// - pass 2 multiplies the embeddings by kRaised² = 2³⁰ times the inverse, at most 2^127.3.
///
/// With M = 1 this allows scales up to 65.8, with M = 2 up to 43.8.
inline std::optional<float> constant_shift(const Loss& loss, double scale) {
  constexpr double kMostExponent = 95, kLogOfRaised = 15 * std::numbers::ln2;
  return std::visit(
      [&]<class L>(const L&) -> std::optional<float> {
        double most = 1;
        if constexpr (kLossBendsWithin<L>) {
          most = L::kMostOther;
        } else if constexpr (kLossBends<L>) {
          return std::nullopt;
        }
        if (scale * std::numbers::log2e * (most + 1) / 2 > kMostExponent) return std::nullopt;
        return static_cast<float>(std::round(scale * (most - 1) / 2 + kLogOfRaised));
      },
      loss);
}

}  // namespace pfc::kernels
