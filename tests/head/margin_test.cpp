#include "pfc/head/margin.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace pfc {
namespace {

constexpr double kPi = std::numbers::pi;

double slope_by_difference(const Margin& margin, double c) {
  const double h = 1e-6;
  return (margin(c + h).value - margin(c - h).value) / (2 * h);
}

TEST(Margin, CosFaceSubtracts) {
  EXPECT_DOUBLE_EQ(Margin::cosface(0.4)(0.7).value, 0.7 - 0.4);
  EXPECT_DOUBLE_EQ(Margin::cosface(0.4)(0.7).slope, 1);
}

TEST(Margin, ArcFaceAddsToTheAngle) {
  EXPECT_NEAR(Margin::arcface(0.5)(std::cos(1.0)).value, std::cos(1.5), 1e-15);
  EXPECT_NEAR(Margin::arcface(0.5)(std::cos(1.0)).slope, std::sin(1.5) / std::sin(1.0), 1e-14);
}

TEST(Margin, ArcFaceNeverRisesWithTheAngle) {
  const Margin margin = Margin::arcface(0.5);
  double last = 2;
  for (double theta = 0; theta <= kPi; theta += 1e-3) {
    const double value = margin(std::cos(theta)).value;
    EXPECT_LE(value, last + 1e-12) << theta;
    last = value;
  }
  EXPECT_NEAR(margin(-1).value, -1 - 0.5 * std::sin(0.5), 1e-15);
}

TEST(Margin, StraightThroughKeepsTheValueAndForgetsTheSlope) {
  const Margin margin = Margin::arcface(0.5, Margin::Slope::kStraightThrough);
  EXPECT_DOUBLE_EQ(margin(0.3).value, Margin::arcface(0.5)(0.3).value);
  EXPECT_DOUBLE_EQ(margin(0.3).slope, 1);
  EXPECT_NEAR(margin(-1).value, std::cos(kPi + 0.5), 1e-12);  // and has no branch past π
}

TEST(Margin, CombinedHoldsTheOthers) {
  for (const double c : {-0.8, -0.1, 0.2, 0.9}) {
    EXPECT_NEAR(Margin::combined(1, 0, 0.35)(c).value, Margin::cosface(0.35)(c).value, 1e-15);
    EXPECT_NEAR(Margin::combined(1, 0.3, 0)(c).value, std::cos(std::acos(c) + 0.3), 1e-15);
    EXPECT_NEAR(Margin::combined(1.2, 0.3, 0.1)(c).value, std::cos(1.2 * std::acos(c) + 0.3) - 0.1,
                1e-15);
  }
}

TEST(Margin, SlopeIsTheDerivative) {
  for (const Margin& margin :
       {Margin::cosface(0.4), Margin::arcface(0.5), Margin::combined(1.2, 0.3, 0.1)}) {
    for (const double c : {-0.95, -0.5, 0.0, 0.5, 0.99}) {
      EXPECT_NEAR(margin(c).slope, slope_by_difference(margin, c), 1e-5 * std::abs(margin(c).slope))
          << c;
    }
  }
}

TEST(Margin, StaysFiniteAtTheEnds) {
  for (const Margin& margin : {Margin::arcface(0.5), Margin::combined(1.2, 0.3, 0.1)}) {
    for (const double c : {-1.0, 1.0, 1.0000001, -1.0000001}) {
      EXPECT_TRUE(std::isfinite(margin(c).value));
      EXPECT_TRUE(std::isfinite(margin(c).slope));
    }
  }
}

}  // namespace
}  // namespace pfc
