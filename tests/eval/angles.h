#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pfc/eval/features.h"

namespace pfc {

/// Directions in the plane, in degrees, with their names.
inline std::unique_ptr<Features> at_angles(
    const std::vector<std::pair<std::string, double>>& images) {
  std::vector<float> values;
  std::vector<std::string> names;
  for (const auto& [name, degrees] : images) {
    values.push_back(static_cast<float>(std::cos(degrees * M_PI / 180)));
    values.push_back(static_cast<float>(std::sin(degrees * M_PI / 180)));
    names.push_back(name);
  }
  return make_features(std::move(values), 2, std::move(names));
}

}  // namespace pfc
