#include "pfc/head/margin.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pfc {

MarginValue Margin::operator()(double cosine) const {
  constexpr double kLeastSine = 1e-6;
  const double c = std::clamp(cosine, -1.0, 1.0);
  if (m1_ == 1 && m2_ == 0) return {c - m3_, 1.0};

  const double theta = std::acos(c);
  if (monotonic_ && theta + m2_ > std::numbers::pi) return {c - m2_ * std::sin(m2_), 1.0};
  const double angle = m1_ * theta + m2_;
  const double value = std::cos(angle) - m3_;
  if (slope_ == Slope::kStraightThrough) return {value, 1.0};
  return {value, m1_ * std::sin(angle) / std::max(std::sqrt(1 - c * c), kLeastSine)};
}

}  // namespace pfc
