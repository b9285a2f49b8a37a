#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "comm/gloo_communicator.h"
#include "gpu_check/small_training.h"
#include "head/head_case.h"
#include "pfc/comm/launch.h"
#include "pfc/comm/staged_communicator.h"

namespace pfc {
namespace {

/// Convolutions multiply in TF32 there.
TEST(GpuTraining, R18EmbedsAsOnTheCpu) {
  const at::NoGradGuard no_grad;
  const auto network = make_backbone("r18", gpu_check::kDim, 1);
  network->eval();
  const at::Tensor pixels = torch::randint(0, 256, {32, 112, 112, 3}, at::kByte);
  const at::Tensor wanted = network->forward(to_network_input(pixels));
  move_to(gpu_check::kGpu, *network);
  EXPECT_LT(error_of(network->forward(to_network_input(pixels.to(gpu_check::kGpu))), wanted), 1e-2);
}

TEST(GpuTraining, AHundredStepsOfR18HalveTheLossInEveryPrecision) {
  for (const auto precision : {at::kFloat, at::kBFloat16, at::kHalf}) {
    SCOPED_TRACE(c10::toString(precision));
    gpu_check::SmallTraining run({.precision = precision});
    run.step();
    const double first_loss = run.loss();
    for (int step = 1; step < 100; ++step) run.step();
    EXPECT_LT(run.loss(), 0.5 * first_loss);
  }
}

std::vector<double> losses_of(const gpu_check::SmallTrainingOptions& options, int steps,
                              std::unique_ptr<Communicator> comm = make_self_communicator()) {
  gpu_check::SmallTraining run(options, std::move(comm));
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    run.step();
    losses.push_back(run.loss());
  }
  return losses;
}

/// The mean of |difference| over the mean loss, of a hundred steps.
void expect_bfloat16_loses_as_float32(gpu_check::SmallTrainingOptions options) {
  constexpr int kSteps = 100;
  options.precision = at::kFloat;
  options.gemm = GemmInput::kFloat32;
  const std::vector<double> want = losses_of(options, kSteps);
  options.precision = at::kBFloat16;
  options.gemm = GemmInput::kBFloat16;
  const std::vector<double> found = losses_of(options, kSteps);
  double all = 0, apart = 0;
  for (std::size_t step = 0; step < kSteps; ++step) {
    all += want[step];
    apart += std::abs(found[step] - want[step]);
  }
  EXPECT_LT(apart / all, 0.01);
  std::printf(
      "%s, %d steps: the losses of bfloat16 are %.2f %% from float32's, the last ones %.3f and "
      "%.3f\n",
      options.network.c_str(), kSteps, 100 * apart / all, found.back(), want.back());
}

TEST(GpuTraining, R18LosesInBFloat16AsInFloat32) {
  expect_bfloat16_loses_as_float32({.network = "r18"});
}

TEST(GpuTraining, TinyLosesInBFloat16AsInFloat32) {
  expect_bfloat16_loses_as_float32({.network = "tiny", .batch = 16});
}

/// Of five steps in float32; later ones would amplify their rounding.
std::vector<double> losses_of_r18(std::unique_ptr<Communicator> comm) {
  return losses_of({.gemm = GemmInput::kFloat32, .batch = 16}, 5, std::move(comm));
}

/// On each of several ranks, which tests/start_ranks.sh starts.
TEST(RanksGpuTraining, R18OnRanksThatShareAGpuLosesAsOnOneRank) {
  const Launch launch = find_launch();
  if (launch.way != Launch::Way::kRendezvous) GTEST_SKIP() << "one rank alone";
  at::globalContext().setAllowTF32CuDNN(false);
  const std::vector<double> found = losses_of_r18(make_staged_communicator(
      make_gloo_communicator(launch, std::chrono::seconds(60)), gpu_check::kGpu));
  if (launch.rank > 0) return;
  const std::vector<double> want = losses_of_r18(make_self_communicator());
  double worst = 0;
  for (std::size_t step = 0; step < want.size(); ++step)
    worst = std::max(worst, std::abs(found[step] / want[step] - 1));
  EXPECT_LT(worst, 1e-4);
  std::printf("%d ranks on one GPU: largest difference of a loss %.1e\n", launch.world, worst);
}

}  // namespace
}  // namespace pfc
