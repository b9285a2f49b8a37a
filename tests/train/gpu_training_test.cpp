#include <gtest/gtest.h>
#include <torch/types.h>

#include "gpu_check/small_training.h"
#include "head/head_case.h"

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
    gpu_check::SmallTraining run(precision, 256);
    run.step();
    const double first_loss = run.loss();
    for (int step = 1; step < 100; ++step) run.step();
    EXPECT_LT(run.loss(), 0.5 * first_loss);
  }
}

}  // namespace
}  // namespace pfc
