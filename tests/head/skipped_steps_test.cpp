#include "head/skipped_steps.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace pfc {
namespace {

TEST(SkippedSteps, TakeARowWhereEveryStepAloneTakesIt) {
  for (const double momentum : {0.9, 0.0}) {
    constexpr double kDecay = 0.01;
    SkippedSteps skipped({.momentum = momentum, .weight_decay = kDecay});
    std::vector<double> rates;
    for (int step = 0; step < 500; ++step) {
      rates.push_back(0.1 * (1 + step % 5) / (1 + step / 100));
      skipped.push(rates.back());
    }
    ASSERT_EQ(skipped.size(), 500);
    for (const std::int64_t first : {0, 1, 127, 128, 129, 250, 383, 384, 385, 498, 499, 500}) {
      double w = 0.7, v = -0.2;
      for (auto step = static_cast<std::size_t>(first); step < rates.size(); ++step) {
        v = momentum * v + kDecay * w;
        w -= rates[step] * v;
      }
      const kernels::CatchUp missed = skipped.since(first);
      EXPECT_NEAR(0.7 + missed.w_w * 0.7 + missed.w_v * -0.2, w, 1e-6);
      EXPECT_NEAR(missed.v_w * 0.7 + missed.v_v * -0.2, v, 1e-6);
    }
  }
}

TEST(SkippedSteps, KeepTheDigitsOfASmallDecay) {
  SkippedSteps skipped({.momentum = 0, .weight_decay = 5e-4});
  for (int step = 0; step < 9; ++step) skipped.push(1e-4);
  EXPECT_NEAR(skipped.since(0).w_w, -9 * 5e-8, 1e-6 * 9 * 5e-8);
}

TEST(SkippedSteps, PushedAgainGiveTheSameToTheBit) {
  constexpr int kManySteps = 1000;
  std::vector<double> rates;
  for (int step = 0; step < kManySteps; ++step) rates.push_back(0.1 / (1 + step % 7));
  SkippedSteps whole({.momentum = 0.9, .weight_decay = 5e-4});
  for (std::size_t cut = 0; cut < rates.size(); ++cut) {
    whole.push(rates[cut]);
    if (cut % 111 != 0) continue;
    SkippedSteps again({.momentum = 0.9, .weight_decay = 5e-4});
    for (const double rate : whole.learning_rates()) again.push(rate);
    for (std::int64_t i = 0; i <= whole.size(); ++i) {
      const kernels::CatchUp a = whole.since(i), b = again.since(i);
      EXPECT_EQ(a.w_w, b.w_w);
      EXPECT_EQ(a.w_v, b.w_v);
      EXPECT_EQ(a.v_w, b.v_w);
      EXPECT_EQ(a.v_v, b.v_v);
    }
  }
}

TEST(SkippedSteps, ManyCostNoSquareOfTheirNumber) {
  SkippedSteps skipped({.momentum = 0.9, .weight_decay = 5e-4});
  for (int step = 0; step < 300'000; ++step)
    skipped.push(1e-3);  // would take minutes if it cost n²
  EXPECT_NEAR(1 + skipped.since(0).w_w, std::exp(-300'000 * 5e-6), 1e-3);
}

TEST(SkippedSteps, AreNoneForARowThatMissedNone) {
  SkippedSteps skipped({.momentum = 0.9, .weight_decay = 5e-4});
  skipped.push(0.1);
  const kernels::CatchUp missed = skipped.since(1);
  EXPECT_EQ(missed.w_w, 0);
  EXPECT_EQ(missed.w_v, 0);
  EXPECT_EQ(missed.v_w, 0);
  EXPECT_EQ(missed.v_v, 1);
  skipped.clear();
  EXPECT_EQ(skipped.size(), 0);
  EXPECT_EQ(skipped.since(0).w_w, 0);
}

}  // namespace
}  // namespace pfc
