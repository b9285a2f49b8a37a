#pragma once

#include "pfc/head/losses/arcface.h"
#include "pfc/head/losses/cosface.h"

namespace pfc {

/// ElasticFace (Boutros et al., CVPRW 2022): ArcFace or CosFace whose margin is drawn anew for each
/// sample, from N(m, σ²).
struct ElasticFace {
  static constexpr std::string_view kName = "elasticface";
  static constexpr std::string_view kFormula = "cos(θ + m′), or cos θ − m′; m′ drawn from N(m, σ²)";
  static constexpr bool kDraws = true;

  enum class On { kAngle, kCosine };

  double m = 0.5;  ///< radians, where it is added to the angle
  double sigma = 0.0125;
  On on = On::kAngle;  ///< ArcFace's margin, or CosFace's

  std::vector<Field> fields();

  PFC_ON_GPU OwnCosine own(const LossSample& sample) const {
    const double drawn = m + sigma * sample.normal;
    if (on == On::kCosine) return CosFace{.m = drawn}.own(sample);
    return ArcFace{.m = drawn}.own(sample);
  }
  bool operator==(const ElasticFace&) const = default;
};

template <>
struct Names<ElasticFace::On> {
  static constexpr auto kAll = named_values<ElasticFace::On>(
      {{ElasticFace::On::kAngle, "angle"}, {ElasticFace::On::kCosine, "cosine"}});
};

inline std::vector<Field> ElasticFace::fields() {
  return {key::number("head.elasticface_sigma", &sigma, OnResume::kTold, key::from_to(0, 1),
                      "σ of elasticface's margins"),
          key::choice("head.elasticface_on", on, OnResume::kTold,
                      "of elasticface: its margin is added to the angle, as arcface's, or taken "
                      "from the cosine, as cosface's")};
}

}  // namespace pfc
