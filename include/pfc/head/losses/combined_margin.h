#pragma once

#include "pfc/head/losses/contract.h"

namespace pfc {

/// cos(m1·θ + m2) − m3: SphereFace's m1, ArcFace's m2 and CosFace's m3 together (Deng et al., CVPR
/// 2019, section 2.3).
struct CombinedMargin {
  static constexpr std::string_view kName = "combined";
  static constexpr std::string_view kFormula = "cos(m1·θ + m2) − m3";

  double m1 = 1, m2 = 0, m3 = 0;

  std::vector<Field> fields() {
    return {key::number("head.m1", &m1, OnResume::kTold, key::above_to(0, 10), "m1 of combined"),
            key::number("head.m2", &m2, OnResume::kTold, key::from_to(0, 3.14159),
                        "m2 of combined (radians)"),
            key::number("head.m3", &m3, OnResume::kTold, key::from_to(0, 2), "m3 of combined")};
  }

  PFC_ON_GPU OwnCosine own(const LossSample& sample) const {
    const double c = sample.cosine;
    if (m1 == 1 && m2 == 0) return {c - m3, 1};
    const double angle = m1 * std::acos(c) + m2;
    return {std::cos(angle) - m3, m1 * std::sin(angle) / sine_of(c)};
  }
  bool operator==(const CombinedMargin&) const = default;
};

}  // namespace pfc
