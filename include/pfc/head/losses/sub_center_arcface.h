#pragma once

#include "pfc/head/losses/arcface.h"

namespace pfc {

/// Sub-centre ArcFace (Deng et al., ECCV 2020): a class has several centres, which are sampled
/// together. The nearest one counts, of the own class and of the others; it alone gets a gradient.
/// Mislabelled images gather at a centre that is not the class's main one.
struct SubCenterArcFace {
  static constexpr std::string_view kName = "subcenter_arcface";
  static constexpr std::string_view kFormula = "cos(θ + m) to the nearest of a class's centres";

  double m = 0.5;  ///< radians
  std::int64_t centers = 3;

  std::vector<Field> fields() {
    return {key::number("head.sub_centers", &centers, OnResume::kFixed, key::from_to(1, 64),
                        "of subcenter_arcface: centres that a class has")};
  }

  std::int64_t centers_a_class() const { return centers; }
  PFC_ON_GPU OwnCosine own(const LossSample& sample) const { return ArcFace{.m = m}.own(sample); }
  bool operator==(const SubCenterArcFace&) const = default;
};

}  // namespace pfc
