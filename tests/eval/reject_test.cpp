#include "pfc/eval/reject.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "pfc/base/random.h"

namespace pfc {
namespace {

using testing::ElementsAre;

struct Case {
  std::vector<double> scores, lengths;
  std::vector<std::uint8_t> same;
};

/// Pairs whose genuine ones score better the longer their embeddings are.
Case some_pairs(std::int64_t pairs) {
  const CounterRandom random(1, RandomStream::kFeatureNoise);
  Case made;
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    const auto number = [&](std::uint64_t of) {
      return static_cast<double>(random.below(1000, of, static_cast<std::uint64_t>(pair))) / 1000;
    };
    made.same.push_back(pair % 2 == 0);
    made.lengths.insert(made.lengths.end(), {number(0), number(1)});
    made.scores.push_back(pair % 2 == 0 ? number(2) + std::min(number(0), number(1)) : number(2));
  }
  return made;
}

RejectCurve curve_of(const Case& of, double most) {
  return reject_curve(of.scores, of.same, of.lengths, most);
}

TEST(RejectCurve, BeginsWithTheErrorsOfAllPairs) {
  const Case pairs = some_pairs(4000);
  const RejectCurve curve = curve_of(pairs, 0.3);
  const OperatingPoint all = Roc(pairs.scores, pairs.same).at(1e-3);
  EXPECT_EQ(curve.points.front().images, 0);
  EXPECT_DOUBLE_EQ(curve.points.front().fnmr(), 1 - all.tar);
  EXPECT_DOUBLE_EQ(curve.points.front().far(), all.far);
  EXPECT_EQ(curve.points.front().length, *std::ranges::min_element(pairs.lengths));
}

TEST(RejectCurve, CountsAtEachPointThePairsWhoseTwoImagesAreLongEnough) {
  const Case pairs = some_pairs(500);
  const RejectCurve curve = curve_of(pairs, 0.9);
  ASSERT_GT(curve.points.size(), 100u);
  for (const RejectPoint& point : curve.points) {
    RejectPoint want;
    for (std::size_t pair = 0; pair < pairs.same.size(); ++pair) {
      if (std::min(pairs.lengths[2 * pair], pairs.lengths[2 * pair + 1]) < point.length) continue;
      const bool accepted = pairs.scores[pair] >= curve.at.threshold;
      ++(pairs.same[pair] ? want.genuine : want.impostors);
      want.false_rejects += pairs.same[pair] && !accepted;
      want.false_accepts += !pairs.same[pair] && accepted;
    }
    const auto rejected =
        std::ranges::count_if(pairs.lengths, [&](double length) { return length < point.length; });
    ASSERT_DOUBLE_EQ(point.images, static_cast<double>(rejected) / 1000);
    ASSERT_EQ(point.genuine, want.genuine);
    ASSERT_EQ(point.impostors, want.impostors);
    ASSERT_EQ(point.false_rejects, want.false_rejects);
    ASSERT_EQ(point.false_accepts, want.false_accepts);
  }
}

TEST(RejectCurve, FallsWhereTheLengthsAreAScoreOfQuality) {
  const RejectCurve curve = curve_of(some_pairs(4000), 0.5);
  EXPECT_LT(curve.after(0.5).fnmr(), 0.8 * curve.points.front().fnmr());
}

TEST(RejectCurve, HasARowForEachTenthThatDoesNotRejectMore) {
  const std::vector<RejectPoint> rows = curve_of(some_pairs(4000), 0.2).rows();
  ASSERT_EQ(rows.size(), 11u);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_LE(rows[i].images, 0.02 * static_cast<double>(i) + 1e-9);
    EXPECT_GT(rows[i].images, 0.02 * static_cast<double>(i) - 2e-3);  // lengths repeat
  }
}

TEST(RejectCurve, RejectsImagesOfEqualLengthTogether) {
  const std::vector<double> lengths = {1, 1, 1, 2, 3, 3, 4, 4}, scores = {0.1, 0.9, 0.2, 0.8};
  const std::vector<std::uint8_t> same = {1, 1, 0, 1};
  std::vector<double> shares;
  for (const RejectPoint& point : reject_curve(scores, same, lengths, 0.9).points)
    shares.push_back(point.images);
  EXPECT_THAT(shares, ElementsAre(0, 3.0 / 8, 4.0 / 8, 6.0 / 8));
}

TEST(RejectCurve, EndsWhereNoGenuinePairIsLeft) {
  const std::vector<double> lengths = {1, 9, 8, 2, 7, 7}, scores = {0.1, 0.9, 0.2};
  const std::vector<std::uint8_t> same = {1, 1, 0};
  const RejectCurve curve = reject_curve(scores, same, lengths, 0.9);
  EXPECT_EQ(curve.points.size(), 2u);
  EXPECT_DOUBLE_EQ(curve.end, 2.0 / 6);
}

}  // namespace
}  // namespace pfc
