#pragma once

#include "pfc/head/losses/contract.h"

namespace pfc {

/// MagFace (Meng et al., CVPR 2021): with a = ‖x‖ within [l_a, u_a], the own cosine becomes
/// cos(θ + m(a)), m(a) linear from l_m to u_m; a cosine that is not above 0 stays (the "easy
/// margin" of the authors' code). λ·(a / u_a² + 1 / a) is added to the sample's loss, which makes
/// embeddings longer. The length has a gradient, through both.
struct MagFace {
  static constexpr std::string_view kName = "magface";
  static constexpr std::string_view kFormula =
      "cos(θ + m(a)), a the length ‖x‖, + λ·(a/u_a² + 1/a)";
  static constexpr bool kUsesLength = true, kHasLengthGradient = true;

  double l_a = 10, u_a = 110, l_m = 0.45, u_m = 0.8, lambda = 35;

  std::vector<Field> fields() {
    return {key::number("head.magface_l_a", &l_a, OnResume::kTold, key::above_to(0, 1e6),
                        "of magface: shorter embeddings count as this long"),
            key::number("head.magface_u_a", &u_a, OnResume::kTold, key::above_to(0, 1e6),
                        "of magface: longer embeddings count as this long"),
            key::number("head.magface_l_m", &l_m, OnResume::kTold, key::from_to(0, 3.14159),
                        "of magface: the margin at l_a (radians)"),
            key::number("head.magface_u_m", &u_m, OnResume::kTold, key::from_to(0, 3.14159),
                        "of magface: the margin at u_a (radians)"),
            key::number("head.magface_lambda", &lambda, OnResume::kTold, key::from_to(0, 1e6),
                        "λ of magface: weight of the term that makes embeddings longer")};
  }

  std::string wrong() const {
    return l_a < u_a ? "" : "head.magface_l_a is not below head.magface_u_a";
  }

  PFC_ON_GPU OwnCosine own(const LossSample& sample) const {
    const double c = sample.cosine;
    if (c <= 0) return {c, 1};
    const double slope = (u_m - l_m) / (u_a - l_a);
    const double angle = std::acos(c) + l_m + slope * (within(sample.length) - l_a);
    return {std::cos(angle), std::sin(angle) / sine_of(c),
            moves(sample.length) ? -std::sin(angle) * slope : 0};
  }
  PFC_ON_GPU LossTerm penalty(double length) const {
    const double a = within(length);
    return {lambda * (a / (u_a * u_a) + 1 / a),
            moves(length) ? lambda * (1 / (u_a * u_a) - 1 / (a * a)) : 0};
  }
  bool operator==(const MagFace&) const = default;

 private:
  PFC_ON_GPU double within(double length) const { return clip(length, l_a, u_a); }
  PFC_ON_GPU bool moves(double length) const { return length > l_a && length < u_a; }
};

}  // namespace pfc
