#include "pfc/eval/roc.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "pfc/base/error.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

Roc roc(const std::vector<double>& scores, const std::vector<std::uint8_t>& same) {
  return Roc(scores, same);
}

TEST(Roc, CountsWhatEachThresholdAccepts) {
  const Roc curve = roc({1, 4, 2, 3}, {0, 1, 1, 0});
  const std::vector<std::array<double, 3>> expected = {
      {std::numeric_limits<double>::infinity(), 0, 0}, {4, 1, 0}, {3, 1, 1}, {2, 2, 1}, {1, 2, 2}};
  ASSERT_EQ(curve.points().size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const RocPoint& point = curve.points()[i];
    EXPECT_EQ(point.threshold, expected[i][0]);
    EXPECT_EQ(static_cast<double>(point.true_accepts), expected[i][1]);
    EXPECT_EQ(static_cast<double>(point.false_accepts), expected[i][2]);
  }
}

TEST(Roc, TakesTheLargestTarThatTheFarAllows) {
  const Roc curve = roc({1, 4, 2, 3}, {0, 1, 1, 0});
  EXPECT_EQ(curve.at(0).tar, 0.5);
  EXPECT_EQ(curve.at(0.49).tar, 0.5);
  EXPECT_EQ(curve.at(0.5).tar, 1);
  EXPECT_EQ(curve.at(0.5).far, 0.5);
  EXPECT_EQ(curve.at(0.5).threshold, 2);
}

TEST(Roc, FindsTheNearestFarAndThereTheLargestTar) {
  // FAR 0, 1/4, 1/4, 2/4, 3/4, 3/4, 1 with TAR 1/3 … 1.
  const Roc curve = roc({9, 8, 7, 6, 5, 4, 3}, {1, 0, 1, 0, 0, 1, 0});
  EXPECT_EQ(curve.nearest(0).true_accepts, 1);
  EXPECT_EQ(curve.nearest(0.1).false_accepts, 0);
  EXPECT_EQ(curve.nearest(0.2).false_accepts, 1);
  EXPECT_EQ(curve.nearest(0.2).true_accepts, 2);    // the better of the two points there
  EXPECT_EQ(curve.nearest(0.125).true_accepts, 2);  // equally near to 0 and to 1/4
  EXPECT_EQ(curve.nearest(0.6).false_accepts, 2);
  EXPECT_EQ(curve.nearest(1).false_accepts, 4);
}

TEST(Roc, ItsCornersAreThePointsThatScikitLearnKeeps) {
  // Equal scores count together. The steps are (genuine, impostors) (1, 0), (1, 0), (1, 1), (1, 1),
  // (0, 1), (0, 1), (0, 1). For them roc_curve(y, s) of scikit-learn 1.9 gives FPR 0, 0, 0, 2/5, 1
  // and TPR 0, 1/4, 2/4, 1, 1.
  const Roc curve = roc({9, 8, 7, 7, 6, 6, 5, 4, 3}, {1, 1, 1, 0, 1, 0, 0, 0, 0});
  const Roc corners = curve.corners();
  const std::vector<std::pair<int, int>> wanted = {{0, 0}, {1, 0}, {2, 0}, {4, 2}, {4, 5}};
  ASSERT_EQ(corners.points().size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(corners.points()[i].true_accepts, wanted[i].first);
    EXPECT_EQ(corners.points()[i].false_accepts, wanted[i].second);
  }
  EXPECT_EQ(curve.nearest(0.25).true_accepts, 3);
  EXPECT_EQ(corners.nearest(0.25).true_accepts, 4);
  EXPECT_EQ(corners.area(), curve.area());
  EXPECT_EQ(roc({2, 1}, {1, 0}).corners().points().size(), 3u);
}

TEST(HardestPairs, AreTheLowestGenuineAndTheHighestImpostorOnes) {
  const std::vector<double> scores = {1, 4, 2, 3, 2};
  const std::vector<std::uint8_t> same = {0, 1, 1, 0, 1};
  EXPECT_EQ(hardest_pairs(scores, same, true), (std::vector<std::int64_t>{2, 4, 1}));
  EXPECT_EQ(hardest_pairs(scores, same, false), (std::vector<std::int64_t>{3, 0}));
  EXPECT_EQ(hardest_pairs(std::vector<double>(50), std::vector<std::uint8_t>(50), false).size(),
            kHardestPairs);
}

TEST(Roc, EqualScoresEnterTogether) {
  const Roc curve = roc({1, 1}, {1, 0});
  EXPECT_EQ(curve.points().size(), 2u);
  EXPECT_EQ(curve.at(0.5).tar, 0);
  EXPECT_EQ(curve.at(1).tar, 1);
  EXPECT_EQ(curve.area(), 0.5);
  EXPECT_EQ(curve.equal_error_rate(), 0.5);
}

TEST(Roc, AFarOfExactlyKImpostorsAllowsK) {
  std::vector<double> scores;
  std::vector<std::uint8_t> same;
  for (int i = 0; i < 3000; ++i) {  // a genuine pair between each two impostors
    scores.insert(scores.end(), {-2.0 * i, -2.0 * i - 1});
    same.insert(same.end(), {0, 1});
  }
  const Roc curve = roc(scores, same);
  EXPECT_EQ(curve.at(1e-3).far, 3.0 / 3000);
  EXPECT_EQ(curve.at(1e-3).tar, 3.0 / 3000);
}

TEST(Roc, AFarBelowOneImpostorMeansNoFalseAccept) {
  const Roc curve = roc({5, 4, 3, 2}, {1, 1, 0, 1});
  EXPECT_FALSE(curve.at(0.9).resolved);
  EXPECT_TRUE(curve.at(1).resolved);
  EXPECT_EQ(curve.at(0.9).far, 0);
  EXPECT_EQ(curve.at(0.9).tar, 2.0 / 3);
}

TEST(Roc, NothingIsAcceptedAboveAnImpostorThatLeads) {
  const OperatingPoint point = roc({2, 1}, {0, 1}).at(0.1);
  EXPECT_EQ(point.tar, 0);
  EXPECT_EQ(point.threshold, std::numeric_limits<double>::infinity());
}

TEST(Roc, AreaIsTheProbabilityThatAGenuinePairScoresHigher) {
  const CounterRandom random(3, RandomStream::kMirror);
  std::vector<double> scores;
  std::vector<std::uint8_t> same;
  for (std::uint64_t i = 0; i < 200; ++i) {
    same.push_back(random.below(3, 0, i) == 0);
    scores.push_back(static_cast<double>(random.below(20, 1, i) + 3 * same.back()));
  }
  double wins = 0, compared = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    for (std::size_t j = 0; j < 200; ++j) {
      if (!same[i] || same[j]) continue;
      wins += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
      ++compared;
    }
  }
  EXPECT_NEAR(roc(scores, same).area(), wins / compared, 1e-12);
}

TEST(Roc, TheAreaOfMillionsOfStepsIsExact) {
  constexpr std::int64_t kPairs = 200'003;  // of each kind, alternating, a genuine one first
  std::vector<double> scores;
  std::vector<std::uint8_t> same;
  for (std::int64_t i = 0; i < 2 * kPairs; ++i) {
    scores.push_back(-static_cast<double>(i));
    same.push_back(i % 2 == 0);
  }
  // Of n² comparisons n(n + 1)/2 are won.
  EXPECT_EQ(Roc(scores, same).area(), static_cast<double>(kPairs + 1) / (2.0 * kPairs));
}

TEST(Roc, TheEqualErrorRateIsWhereBothErrorsMeet) {
  EXPECT_EQ(roc({4, 3, 2, 1}, {1, 1, 0, 0}).equal_error_rate(), 0);
  EXPECT_EQ(roc({4, 3, 2, 1}, {0, 0, 1, 1}).equal_error_rate(), 1);
  EXPECT_DOUBLE_EQ(roc({4, 3, 2, 1}, {1, 0, 1, 0}).equal_error_rate(), 0.5);
  // Three genuine and three impostor pairs: (FAR, TAR) goes from (0, 2/3) to (1/3, 2/3), where both
  // errors are 1/3.
  EXPECT_DOUBLE_EQ(roc({6, 5, 4, 3, 2, 1}, {1, 1, 0, 1, 0, 0}).equal_error_rate(), 1.0 / 3);
}

TEST(Roc, RefusesWhatHasNoCurve) {
  EXPECT_THROW(roc({}, {}), Error);
  EXPECT_THROW(roc({1, 2}, {1, 1}), Error);
  EXPECT_THROW(roc({1, 2}, {0, 0}), Error);
  EXPECT_THROW(roc({1, std::nan("")}, {0, 1}), Error);
}

}  // namespace
}  // namespace pfc
