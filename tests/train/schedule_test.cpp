#include "pfc/train/schedule.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

TEST(LearningRate, PolynomialFallsToZeroOverTheWholeRun) {
  const LearningRate rate({.lr = 0.1}, 100);
  EXPECT_DOUBLE_EQ(rate.at(0), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(25), 0.075);
  EXPECT_DOUBLE_EQ(rate.at(99), 0.001);
  EXPECT_EQ(rate.at(100), 0);
  EXPECT_EQ(rate.at(1000), 0);
}

TEST(LearningRate, WarmUpRisesLinearlyAndThePolynomialTakesTheRest) {
  const LearningRate rate({.lr = 1.0, .warmup = 0.04},
                          100);  // W = 4, so 1/5, 2/5 … then 96 steps down
  EXPECT_DOUBLE_EQ(rate.at(0), 0.2);
  EXPECT_DOUBLE_EQ(rate.at(3), 0.8);
  EXPECT_DOUBLE_EQ(rate.at(4), 1.0);
  EXPECT_DOUBLE_EQ(rate.at(52), 0.5);
  EXPECT_DOUBLE_EQ(rate.at(76), 0.25);
}

TEST(LearningRate, PowerBendsThePolynomial) {
  const LearningRate rate({.lr = 2.0, .power = 2.0}, 10);
  EXPECT_DOUBLE_EQ(rate.at(5), 0.5);
  EXPECT_DOUBLE_EQ(rate.at(8), 0.08);
}

TEST(LearningRate, EqualsTheFieldsPolynomialAfterWarmUp) {
  // base_lr 0.1, warm-up 2 of 10, power 2: 0.1 · ((10 − 5) / (10 − 2))² at step 5.
  const LearningRate rate({.lr = 0.1, .warmup = 0.2, .power = 2.0}, 10);
  EXPECT_DOUBLE_EQ(rate.at(5), 0.1 * 25 / 64);
}

TEST(LearningRate, MilestonesTakeEffectAfterThatManyUpdates) {
  const LearningRate rate({.kind = Decay::kStep, .lr = 0.1, .milestones = {200'000, 400'000}},
                          600'000);
  EXPECT_DOUBLE_EQ(rate.at(0), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(199'999), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(200'000), 0.01);
  EXPECT_DOUBLE_EQ(rate.at(399'999), 0.01);
  EXPECT_DOUBLE_EQ(rate.at(599'999), 0.001);
}

TEST(LearningRate, ARunMayBeAllWarmUp) {
  const LearningRate rate({.lr = 1.0, .warmup = 1.0}, 3);
  EXPECT_DOUBLE_EQ(rate.at(0), 0.25);
  EXPECT_DOUBLE_EQ(rate.at(2), 0.75);
  EXPECT_EQ(rate.at(3), 0);
}

TEST(LearningRate, NeverExceedsItsSetting) {
  for (const double warmup : {0.0, 0.1, 0.5, 1.0}) {
    const LearningRate rate({.lr = 0.1, .warmup = warmup}, 37);
    for (int step = 0; step < 40; ++step) {
      EXPECT_GE(rate.at(step), 0);
      EXPECT_LE(rate.at(step), 0.1);
      EXPECT_EQ(rate.at(step) > 0, step < 37) << step;
    }
  }
}

}  // namespace
}  // namespace pfc
