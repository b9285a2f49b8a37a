#pragma once

#include <numbers>

#include "pfc/head/losses/contract.h"

namespace pfc {

/// AdaFace (Kim et al., CVPR 2022): the margin depends on the length of the embedding, which tells
/// the quality of the image. With k = clip(h·(‖x‖ − μ) / (σ + ε), −1, 1), the own cosine becomes
/// cos(clip(θ − m·k, ε, π − ε)) − m·(1 + k). μ and σ are moving averages of the mean and the
/// deviation of the lengths over the global batch. The length has no gradient.
///
/// The authors' code clamps all cosines to ±(1 − ε); here it is the own one alone.
struct AdaFace {
  static constexpr std::string_view kName = "adaface";
  static constexpr std::string_view kFormula = "cos(θ − m·k) − m·(1 + k), k from the length ‖x‖";
  static constexpr bool kUsesLength = true;
  static constexpr double kEpsilon = 1e-3;

  double m = 0.4;
  double h = 0.333;
  double rate = 0.01;

  std::vector<Field> fields() {
    return {key::number("head.adaface_h", &h, OnResume::kTold, key::from_to(0, 10),
                        "h of adaface: how much of the lengths' spread the margin follows"),
            key::number("head.adaface_rate", &rate, OnResume::kTold, key::from_to(0, 1),
                        "of adaface: a batch's weight in the moving mean and deviation of lengths; "
                        "1: the batch alone")};
  }

  struct Moving {
    double mean = 20, deviation = 100;
  };

  PFC_ON_GPU double observed(const LossSample& sample) const {
    return clip(sample.length, 0.001, 100.0);
  }
  PFC_ON_GPU void follow(const LossBatch& batch, Moving& moving) const {
    moving.mean += rate * (batch.mean - moving.mean);
    if (batch.count > 1) moving.deviation += rate * (batch.deviation - moving.deviation);
  }
  PFC_ON_GPU OwnCosine own(const LossSample& sample, const Moving& moving) const {
    constexpr double kMost = 1 - kEpsilon, kPi = std::numbers::pi;
    const double k =
        clip(h * (observed(sample) - moving.mean) / (moving.deviation + kEpsilon), -1.0, 1.0);
    const double c = clip(sample.cosine, -kMost, kMost);
    const double angle = std::acos(c) - m * k;
    const double clipped = clip(angle, kEpsilon, kPi - kEpsilon);
    const bool moves = c == sample.cosine && clipped == angle;
    return {std::cos(clipped) - m * (1 + k), moves ? std::sin(angle) / sine_of(c) : 0};
  }
  bool operator==(const AdaFace&) const = default;
};

}  // namespace pfc
