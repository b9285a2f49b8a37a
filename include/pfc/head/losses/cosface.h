#pragma once

#include "pfc/head/losses/contract.h"

namespace pfc {

/// CosFace: cos θ − m (Wang et al., CVPR 2018).
struct CosFace {
  static constexpr std::string_view kName = "cosface";
  static constexpr std::string_view kFormula = "cos θ − m";

  double m = 0.4;

  PFC_ON_GPU OwnCosine own(const LossSample& sample) const { return {sample.cosine - m, 1}; }
  bool operator==(const CosFace&) const = default;
};

}  // namespace pfc
