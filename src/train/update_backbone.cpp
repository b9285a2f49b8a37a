#include "train/update_backbone.h"

#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <memory>
#include <tuple>
#include <vector>

namespace pfc {
namespace {

/// A parameter's state, made where it has none yet.
template <class State>
State& state_of(torch::optim::Optimizer& optimizer, const at::Tensor& parameter) {
  auto& state = optimizer.state()[parameter.unsafeGetTensorImpl()];
  if (state == nullptr) state = std::make_unique<State>();
  return static_cast<State&>(*state);
}

struct Tensors {
  std::vector<at::Tensor> parameters, gradients, first, second, steps;
};

void sgd(torch::optim::Optimizer& optimizer, torch::optim::OptimizerParamGroup& group, double lr,
         const at::Tensor& skip) {
  const auto& options = static_cast<const torch::optim::SGDOptions&>(group.options());
  Tensors all;
  for (const at::Tensor& parameter : group.params()) {
    if (!parameter.grad().defined()) continue;
    all.parameters.push_back(parameter);
    all.gradients.push_back(parameter.grad());
    if (options.momentum() == 0) continue;
    auto& state = state_of<torch::optim::SGDParamState>(optimizer, parameter);
    // From 0 the first step is that of a momentum which begins as the gradient.
    if (!state.momentum_buffer().defined()) state.momentum_buffer(torch::zeros_like(parameter));
    all.first.push_back(state.momentum_buffer());
  }
  if (all.parameters.empty()) return;
  at::_fused_sgd_(all.parameters, all.gradients, all.first, options.weight_decay(),
                  options.momentum(), lr, options.dampening(), options.nesterov(),
                  /*maximize=*/false, /*is_first_step=*/false, /*grad_scale=*/{}, skip);
}

void adamw(torch::optim::Optimizer& optimizer, torch::optim::OptimizerParamGroup& group, double lr,
           const at::Tensor& skip, const at::Tensor& skipped) {
  const auto& options = static_cast<const torch::optim::AdamWOptions&>(group.options());
  Tensors all;
  at::Tensor step;  // all parameters have made as many
  for (const at::Tensor& parameter : group.params()) {
    if (!parameter.grad().defined()) continue;
    auto& state = state_of<torch::optim::AdamWParamState>(optimizer, parameter);
    if (!state.exp_avg().defined()) {
      state.exp_avg(torch::zeros_like(parameter));
      state.exp_avg_sq(torch::zeros_like(parameter));
    }
    state.step(state.step() + 1);
    if (!step.defined()) {
      step = torch::full({}, static_cast<double>(state.step()), skip.options());
      if (skipped.defined()) step.sub_(skipped[0]);
    }
    all.parameters.push_back(parameter);
    all.gradients.push_back(parameter.grad());
    all.first.push_back(state.exp_avg());
    all.second.push_back(state.exp_avg_sq());
    all.steps.push_back(step);
  }
  if (all.parameters.empty()) return;
  const auto [beta1, beta2] = options.betas();
  at::_fused_adamw_(all.parameters, all.gradients, all.first, all.second, /*max_exp_avg_sqs=*/{},
                    all.steps, lr, beta1, beta2, options.weight_decay(), options.eps(),
                    /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, skip);
}

}  // namespace

void update_backbone(torch::optim::Optimizer& optimizer, double lr, const at::Tensor& skip,
                     const at::Tensor& skipped) {
  const torch::NoGradGuard no_grad;
  const bool is_adamw = dynamic_cast<torch::optim::AdamW*>(&optimizer) != nullptr;
  for (auto& group : optimizer.param_groups()) {
    group.options().set_lr(lr);
    is_adamw ? adamw(optimizer, group, lr, skip, skipped) : sgd(optimizer, group, lr, skip);
  }
}

}  // namespace pfc
