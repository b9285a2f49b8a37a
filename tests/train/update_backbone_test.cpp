#include "train/update_backbone.h"

#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <memory>
#include <vector>

namespace pfc {
namespace {

using torch::optim::AdamW;
using torch::optim::AdamWOptions;
using torch::optim::Optimizer;
using torch::optim::SGD;
using torch::optim::SGDOptions;

/// Parameters that are the same each time, the last of which wants no gradient.
std::vector<at::Tensor> parameters() {
  at::manual_seed(3);
  std::vector<at::Tensor> all = {torch::randn({4, 3, 2, 2}), torch::randn(7), torch::randn({5, 6})};
  all[0].requires_grad_();
  all[1].requires_grad_();
  return all;
}

void set_gradients(const std::vector<at::Tensor>& parameters, int step) {
  auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(step));
  for (std::size_t i = 0; i + 1 < parameters.size(); ++i)
    parameters[i].mutable_grad() = torch::randn(parameters[i].sizes(), generator);
}

/// Steps of both, with a learning rate that changes.
template <class Kind, class Options>
void expect_equal_steps(const Options& options) {
  const std::vector<at::Tensor> ours = parameters(), theirs = parameters();
  Kind mine(ours, options), reference(theirs, options);
  for (int step = 0; step < 30; ++step) {
    const double lr = 0.1 / (1 + step);
    set_gradients(ours, step);
    set_gradients(theirs, step);
    update_backbone(mine, lr, torch::zeros(1));
    for (auto& group : reference.param_groups()) group.options().set_lr(lr);
    reference.step();
    for (std::size_t i = 0; i < ours.size(); ++i)
      ASSERT_TRUE(ours[i].allclose(theirs[i], 1e-5, 1e-6)) << "step " << step << ", " << i;
  }
}

TEST(UpdateBackbone, IsTheStepOfTorchsSgd) {
  expect_equal_steps<SGD>(SGDOptions(1).momentum(0.9).weight_decay(5e-4));
  expect_equal_steps<SGD>(SGDOptions(1).weight_decay(5e-4));
}

TEST(UpdateBackbone, IsTheStepOfTorchsAdamW) {
  expect_equal_steps<AdamW>(AdamWOptions(1).weight_decay(0.1));
}

TEST(UpdateBackbone, ASkippedStepChangesNeitherParametersNorMomentum) {
  const std::vector<at::Tensor> all = parameters();
  SGD optimizer(all, SGDOptions(1).momentum(0.9).weight_decay(5e-4));
  set_gradients(all, 0);
  update_backbone(optimizer, 0.1, torch::zeros(1));
  const auto& state = static_cast<const torch::optim::SGDParamState&>(
      *optimizer.state().at(all[0].unsafeGetTensorImpl()));
  const at::Tensor weights = all[0].detach().clone(), momentum = state.momentum_buffer().clone();
  set_gradients(all, 1);
  update_backbone(optimizer, 0.1, torch::ones(1));
  EXPECT_TRUE(all[0].equal(weights));
  EXPECT_TRUE(state.momentum_buffer().equal(momentum));
}

TEST(UpdateBackbone, AdamWDoesNotCountStepsThatWereSkipped) {
  const std::vector<at::Tensor> ours = parameters(), theirs = parameters();
  AdamW mine(ours, AdamWOptions(1)), reference(theirs, AdamWOptions(1));
  const at::Tensor skipped = torch::zeros(1);
  for (int step = 0; step < 12; ++step) {
    const bool skip = step % 4 == 0;
    set_gradients(ours, step);
    set_gradients(theirs, step);
    if (skip) skipped.add_(1);
    update_backbone(mine, 0.1, torch::full(1, skip ? 1.0 : 0.0), skipped);
    if (!skip) update_backbone(reference, 0.1, torch::zeros(1));
    for (std::size_t i = 0; i < ours.size(); ++i) ASSERT_TRUE(ours[i].equal(theirs[i])) << step;
  }
}

}  // namespace
}  // namespace pfc
