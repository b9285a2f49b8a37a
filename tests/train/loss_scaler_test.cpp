#include "pfc/train/loss_scaler.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <limits>

namespace pfc {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

double factor_of(const LossScaler& scaler) {
  return scaler.factor().item<double>();
}

TEST(LossScaler, DividesGradientsByWhatItMultipliedTheLossWith) {
  LossScaler scaler(at::kCPU);
  const at::Tensor gradient = torch::tensor({1.5, -2.0}, at::kFloat);
  const at::Tensor scaled = scaler.scaled(gradient);
  EXPECT_TRUE(scaled.equal(gradient * 65536));
  EXPECT_EQ(scaler.unscale({scaled}).item<float>(), 0);
  EXPECT_TRUE(scaled.equal(gradient));
}

TEST(LossScaler, AnOverflowInAnyGradientIsFoundAndHalvesTheFactor) {
  LossScaler scaler(at::kCPU);
  for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    const double before = factor_of(scaler);
    const at::Tensor found =
        scaler.unscale({torch::ones(3), torch::tensor({0.0f, bad}, at::kFloat)});
    EXPECT_NE(found.item<float>(), 0);
    scaler.update(found);
    EXPECT_EQ(factor_of(scaler), before / 2);
  }
  EXPECT_EQ(scaler.skipped().item<int>(), 3);
}

TEST(LossScaler, TwoThousandStepsInARowWithoutAnOverflowDoubleTheFactor) {
  LossScaler scaler(at::kCPU);
  const at::Tensor none = torch::zeros(1), overflow = torch::ones(1);
  for (int step = 0; step < LossScaler::kSteps - 1; ++step) scaler.update(none);
  EXPECT_EQ(factor_of(scaler), LossScaler::kFirst);
  scaler.update(overflow);  // nearly doubled, but the count starts again
  EXPECT_EQ(factor_of(scaler), LossScaler::kFirst / 2);
  for (int step = 0; step < LossScaler::kSteps; ++step) scaler.update(none);
  EXPECT_EQ(factor_of(scaler), LossScaler::kFirst);
}

TEST(LossScaler, GoesOnFromWhatACheckpointKept) {
  LossScaler scaler(at::kCPU);
  for (int step = 0; step < 7; ++step) scaler.update(torch::zeros(1));
  scaler.update(torch::ones(1));
  for (int step = 0; step < 5; ++step) scaler.update(torch::zeros(1));
  LossScaler resumed(at::kCPU);
  RunState saved, loaded;
  scaler.add_to(saved);
  resumed.add_to(loaded);
  Manifest manifest;
  saved.save(manifest);
  loaded.load(manifest, "manifest.json");
  EXPECT_TRUE(resumed.skipped().equal(scaler.skipped()));
  for (int step = 5; step < LossScaler::kSteps; ++step) {
    scaler.update(torch::zeros(1));
    resumed.update(torch::zeros(1));
  }
  EXPECT_EQ(factor_of(resumed), LossScaler::kFirst);
  EXPECT_EQ(factor_of(resumed), factor_of(scaler));
}

}  // namespace
}  // namespace pfc
