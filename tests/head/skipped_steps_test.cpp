#include "head/skipped_steps.h"

#include <gtest/gtest.h>

#include <vector>

namespace pfc {
namespace {

TEST(SkippedSteps, TakeARowWhereEveryStepAloneTakesIt) {
  for (const double momentum : {0.9, 0.0}) {
    constexpr double kDecay = 0.01;
    SkippedSteps skipped(momentum, kDecay);
    std::vector<double> rates;
    for (int step = 0; step < 500; ++step) {
      rates.push_back(0.1 * (1 + step % 5) / (1 + step / 100));
      skipped.push(rates.back());
    }
    ASSERT_EQ(skipped.size(), 500);
    for (const std::int64_t first : {0, 1, 250, 498, 499, 500}) {
      double w = 0.7, v = -0.2;
      for (auto step = static_cast<std::size_t>(first); step < rates.size(); ++step) {
        v = momentum * v + kDecay * w;
        w -= rates[step] * v;
      }
      const kernels::formulas::CatchUp missed = skipped.since(first);
      EXPECT_NEAR(missed.w_w * 0.7 + missed.w_v * -0.2, w, 1e-6);
      EXPECT_NEAR(missed.v_w * 0.7 + missed.v_v * -0.2, v, 1e-6);
    }
  }
}

TEST(SkippedSteps, AreNoneForARowThatMissedNone) {
  SkippedSteps skipped(0.9, 5e-4);
  skipped.push(0.1);
  const kernels::formulas::CatchUp missed = skipped.since(1);
  EXPECT_EQ(missed.w_w, 1);
  EXPECT_EQ(missed.w_v, 0);
  EXPECT_EQ(missed.v_w, 0);
  EXPECT_EQ(missed.v_v, 1);
  skipped.clear();
  EXPECT_EQ(skipped.size(), 0);
  EXPECT_EQ(skipped.since(0).w_w, 1);
}

}  // namespace
}  // namespace pfc
