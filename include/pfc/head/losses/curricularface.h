#pragma once

#include "pfc/head/losses/arcface.h"

namespace pfc {

/// CurricularFace (Huang et al., CVPR 2020): the own cosine is ArcFace's. The cosine c of another
/// class that is above cos(θ + m), a hard negative, becomes c·(t + c). t grows as training goes on:
/// it is a moving average of the samples' own cosines over the global batch. It has no gradient.
struct CurricularFace {
  static constexpr std::string_view kName = "curricularface";
  static constexpr std::string_view kFormula = "cos(θ + m); others: c·(t + c) above it";
  static constexpr bool kSharesCosines = true;
  static constexpr double kRate = 0.01, kMostOther = 2;

  double m = 0.5;  ///< radians

  struct Moving {
    double t = 0;
  };

  PFC_ON_GPU double observed(const LossSample& sample) const { return sample.cosine; }
  PFC_ON_GPU void follow(const LossBatch& batch, Moving& moving) const {
    moving.t = kRate * batch.mean + (1 - kRate) * moving.t;
  }
  PFC_ON_GPU OwnCosine own(const LossSample& sample, const Moving&) const {
    return ArcFace{.m = m}.own(sample);
  }
  PFC_ON_GPU double bound(double own_cosine) const { return std::cos(std::acos(own_cosine) + m); }
  PFC_ON_GPU OtherCosine other(float cosine, float bound, const Moving& moving) const {
    const auto t = static_cast<float>(moving.t);
    const bool hard = cosine > bound;
    return {pick(hard, cosine * (t + cosine), cosine), pick(hard, t + 2 * cosine, 1)};
  }
  bool operator==(const CurricularFace&) const = default;
};

}  // namespace pfc
