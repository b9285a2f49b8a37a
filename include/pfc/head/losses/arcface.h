#pragma once

#include <numbers>

#include "pfc/head/losses/contract.h"

namespace pfc {

/// ArcFace: cos(θ + m) (Deng et al., CVPR 2019). Where θ + m is above π the cosine would rise
/// again; there it is cos θ − m·sin m.
struct ArcFace {
  static constexpr std::string_view kName = "arcface";
  static constexpr std::string_view kFormula = "cos(θ + m)";

  enum class Slope {
    kExact,  ///< sin(θ + m) / sin θ
    /// Taken as 1, as InsightFace's PyTorch code does since the end of 2022. As in that code, there
    /// is no special case above π then.
    kStraightThrough,
  };

  double m = 0.5;  ///< radians
  Slope slope = Slope::kExact;

  std::vector<Field> fields();

  PFC_ON_GPU OwnCosine own(const LossSample& sample) const {
    const double c = sample.cosine;
    if (m == 0) return {c, 1};
    const double angle = std::acos(c) + m;
    if (slope == Slope::kStraightThrough) return {std::cos(angle), 1};
    if (angle > std::numbers::pi) return {c - m * std::sin(m), 1};
    return {std::cos(angle), std::sin(angle) / sine_of(c)};
  }
  bool operator==(const ArcFace&) const = default;
};

template <>
struct Names<ArcFace::Slope> {
  static constexpr auto kAll = named_values<ArcFace::Slope>(
      {{ArcFace::Slope::kExact, "exact"}, {ArcFace::Slope::kStraightThrough, "straight_through"}});
};

inline std::vector<Field> ArcFace::fields() {
  return {key::choice("head.arcface_gradient", slope, OnResume::kTold,
                      "of arcface: straight_through takes sin(θ + m) / sin θ as 1")};
}

}  // namespace pfc
