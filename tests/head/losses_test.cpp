#include "pfc/head/loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <sstream>
#include <string>

#include "pfc/base/files.h"

namespace pfc {
namespace {

using testing::HasSubstr;

constexpr double kPi = std::numbers::pi;

template <class L>
OwnCosine own(const L& loss, double cosine, double length = 30, const Moving<L>& moving = {}) {
  return own_cosine(loss, {.cosine = cosine, .length = length, .normal = 0.7}, moving);
}

/// Calls body(loss) with every loss that there is.
template <class Body>
void for_each_loss(const Body& body) {
  std::apply([&](const auto&... loss) { (body(loss), ...); }, Losses());
}

TEST(Losses, HaveNamesOfTheirOwn) {
  auto names = loss_names();
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
  for (const std::string_view name : names) EXPECT_FALSE(name.empty());
}

TEST(Losses, AreAllInTheTableOfTheDocsWithTheirFormulasKeysAndValues) {
  std::map<std::string, std::string> rows;
  std::istringstream lines(read_file(PFC_DOCS "/losses.md"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("| `")) rows[line.substr(3, line.find('`', 3) - 3)] = line;
  }
  EXPECT_EQ(rows.size(), loss_names().size());
  for_each_loss([&]<class L>(L loss) {
    const std::string& row = rows[std::string(L::kName)];
    EXPECT_THAT(row, HasSubstr("| " + std::string(L::kFormula) + " |"));
    std::vector<std::string> keys;
    if constexpr (requires { loss.m; }) keys.push_back("head.m` = " + toml_number(loss.m));
    if constexpr (requires { loss.fields(); }) {
      for (const Field& field : loss.fields()) keys.push_back(field.key + "` = " + literal(field));
    }
    for (const std::string& key : keys) EXPECT_THAT(row, HasSubstr("`" + key));
    EXPECT_EQ(std::ranges::count(row, '='), std::ssize(keys)) << row;
  });
}

TEST(Losses, SlopesAreTheDerivatives) {
  for_each_loss([]<class L>(const L& loss) {
    const double h = 1e-6;
    for (const double c : {-0.93, -0.5, 0.02, 0.5, 0.99}) {
      const OwnCosine found = own(loss, c);
      const double slope = (own(loss, c + h).value - own(loss, c - h).value) / (2 * h);
      EXPECT_NEAR(found.slope, slope, 1e-5 * std::abs(slope) + 1e-8) << L::kName << " " << c;
      if constexpr (kLossHasLengthGradient<L>) {
        const double by_length =
            (own(loss, c, 30 + h).value - own(loss, c, 30 - h).value) / (2 * h);
        EXPECT_NEAR(found.by_length, by_length, 1e-5 * std::abs(by_length) + 1e-8) << L::kName;
      } else {
        EXPECT_EQ(found.by_length, 0) << L::kName;
      }
    }
    if constexpr (kLossHasPenalty<L>) {
      const double slope = (loss.penalty(30 + h).value - loss.penalty(30 - h).value) / (2 * h);
      EXPECT_NEAR(loss.penalty(30).slope, slope, 1e-5 * std::abs(slope)) << L::kName;
    }
  });
}

TEST(Losses, SlopesOfOtherClassesAreTheDerivatives) {
  for_each_loss([]<class L>(const L& loss) {
    if constexpr (kLossBends<L>) {
      const Moving<L> moving;
      for (const float c : {-0.9f, -0.1f, 0.3f, 0.8f}) {
        const float h = 1e-3f;
        const float slope =
            (loss.other(c + h, 0.2f, moving).value - loss.other(c - h, 0.2f, moving).value) /
            (2 * h);
        EXPECT_NEAR(loss.other(c, 0.2f, moving).slope, slope, 1e-3) << L::kName << " " << c;
      }
    }
  });
}

TEST(Losses, StayFiniteWhereverTheCosineLies) {
  for_each_loss([]<class L>(const L& loss) {
    for (const double c : {-1.0000001, -1.0, -0.999999, 0.0, 0.999999, 1.0, 1.0000001}) {
      for (const double length : {0.0, 1e-4, 20.0, 1e4}) {
        const OwnCosine found = own(loss, c, length);
        EXPECT_TRUE(std::isfinite(found.value) && std::isfinite(found.slope) &&
                    std::isfinite(found.by_length))
            << L::kName << " " << c << " " << length;
      }
    }
  });
}

TEST(Losses, CosFaceSubtracts) {
  EXPECT_DOUBLE_EQ(own(CosFace{.m = 0.4}, 0.7).value, 0.7 - 0.4);
  EXPECT_DOUBLE_EQ(own(CosFace{.m = 0.4}, 0.7).slope, 1);
}

TEST(Losses, ArcFaceAddsToTheAngle) {
  EXPECT_NEAR(own(ArcFace{}, std::cos(1.0)).value, std::cos(1.5), 1e-15);
  EXPECT_NEAR(own(ArcFace{}, std::cos(1.0)).slope, std::sin(1.5) / std::sin(1.0), 1e-14);
}

TEST(Losses, ArcFaceNeverRisesWithTheAngle) {
  double last = 2;
  for (double theta = 0; theta <= kPi; theta += 1e-3) {
    const double value = own(ArcFace{}, std::cos(theta)).value;
    EXPECT_LE(value, last + 1e-12) << theta;
    last = value;
  }
  EXPECT_NEAR(own(ArcFace{}, -1).value, -1 - 0.5 * std::sin(0.5), 1e-15);
}

TEST(Losses, StraightThroughKeepsTheValueAndForgetsTheSlope) {
  const ArcFace loss{.m = 0.5, .slope = ArcFace::Slope::kStraightThrough};
  EXPECT_DOUBLE_EQ(own(loss, 0.3).value, own(ArcFace{}, 0.3).value);
  EXPECT_DOUBLE_EQ(own(loss, 0.3).slope, 1);
  EXPECT_NEAR(own(loss, -1).value, std::cos(kPi + 0.5), 1e-12);  // no special case above π
}

TEST(Losses, CombinedHoldsTheOthers) {
  for (const double c : {-0.8, -0.1, 0.2, 0.9}) {
    EXPECT_NEAR(own(CombinedMargin{1, 0, 0.35}, c).value, own(CosFace{0.35}, c).value, 1e-15);
    EXPECT_NEAR(own(CombinedMargin{1, 0.3, 0}, c).value, std::cos(std::acos(c) + 0.3), 1e-15);
    EXPECT_NEAR(own(CombinedMargin{1.2, 0.3, 0.1}, c).value,
                std::cos(1.2 * std::acos(c) + 0.3) - 0.1, 1e-15);
  }
}

TEST(Losses, AdaFaceOfTheMeanLengthIsCosFace) {
  const AdaFace loss;
  const AdaFace::Moving moving{.mean = 25, .deviation = 4};
  EXPECT_NEAR(own(loss, 0.5, 25, moving).value, 0.5 - loss.m, 1e-12);
}

TEST(Losses, AdaFaceOfAGoodImageIsCosFacesTwiceAndOfAPoorOneArcFaces) {
  const AdaFace loss;
  const AdaFace::Moving moving{.mean = 25, .deviation = 4};
  const double theta = 1;
  EXPECT_NEAR(own(loss, std::cos(theta), 90, moving).value,  // k = 1
              std::cos(theta - loss.m) - 2 * loss.m, 1e-12);
  EXPECT_NEAR(own(loss, std::cos(theta), 1, moving).value,  // k = −1
              std::cos(theta + loss.m), 1e-12);
}

TEST(Losses, AdaFaceFollowsTheBatch) {
  AdaFace::Moving moving;
  AdaFace{}.follow({.count = 8, .mean = 30, .deviation = 5}, moving);
  EXPECT_NEAR(moving.mean, 0.99 * 20 + 0.01 * 30, 1e-12);
  EXPECT_NEAR(moving.deviation, 0.99 * 100 + 0.01 * 5, 1e-12);
  AdaFace{}.follow({.count = 1, .mean = 30}, moving);
  EXPECT_NEAR(moving.deviation, 0.99 * 100 + 0.01 * 5, 1e-12);  // one sample has no deviation
}

TEST(Losses, CurricularFaceBendsHardNegativesAlone) {
  const CurricularFace loss;
  const CurricularFace::Moving moving{.t = 0.25};
  const auto bound = static_cast<float>(loss.bound(0.6));
  EXPECT_NEAR(bound, std::cos(std::acos(0.6) + 0.5), 1e-7);
  EXPECT_EQ(loss.other(bound - 0.01f, bound, moving).value, bound - 0.01f);
  EXPECT_EQ(loss.other(bound - 0.01f, bound, moving).slope, 1);
  EXPECT_NEAR(loss.other(0.7f, bound, moving).value, 0.7 * (0.25 + 0.7), 1e-7);
  EXPECT_NEAR(loss.other(0.7f, bound, moving).slope, 0.25 + 2 * 0.7, 1e-7);
  CurricularFace::Moving start;
  loss.follow({.count = 4, .mean = 0.5}, start);
  EXPECT_NEAR(start.t, 0.005, 1e-15);
}

TEST(Losses, MagFacesMarginGrowsWithTheLength) {
  const MagFace loss;
  const double theta = 1;
  EXPECT_NEAR(own(loss, std::cos(theta), 5).value, std::cos(theta + 0.45), 1e-12);
  EXPECT_NEAR(own(loss, std::cos(theta), 60).value, std::cos(theta + 0.625), 1e-12);
  EXPECT_NEAR(own(loss, std::cos(theta), 500).value, std::cos(theta + 0.8), 1e-12);
  EXPECT_EQ(own(loss, -0.2, 60).value, -0.2);
  EXPECT_NEAR(loss.penalty(60).value, 35 * (60.0 / (110 * 110) + 1.0 / 60), 1e-12);
  EXPECT_LT(loss.penalty(60).slope, 0);  // longer is better, up to u_a
}

TEST(Losses, ElasticFacesMarginIsDrawn) {
  EXPECT_NEAR(own(ElasticFace{}, 0.5).value, std::cos(std::acos(0.5) + 0.5 + 0.7 * 0.0125), 1e-12);
  EXPECT_NEAR(own(ElasticFace{.m = 0.35, .on = ElasticFace::On::kCosine}, 0.5).value,
              0.5 - 0.35 - 0.7 * 0.0125, 1e-12);
}

}  // namespace
}  // namespace pfc
