#include "pfc/train/backbone_optimizer.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "pfc/base/error.h"
#include "train/optimizers/built_in.h"

namespace pfc {

BackboneOptimizer::BackboneOptimizer(std::string name, const Parameters& parameters, Kept kept)
    : name_(std::move(name)), kept_(std::move(kept)) {
  for (const auto& item : parameters)
    parameters_.push_back(
        {item.key(), item.value(), std::vector<at::Tensor>(kept_.tensors.size())});
}

void BackboneOptimizer::step(double lr, const at::Tensor& skip, const at::Tensor& skipped) {
  const at::NoGradGuard no_grad;
  Step all{.lr = lr, .skip = skip, .kept = {kept_.tensors.size(), std::vector<at::Tensor>()}};
  for (Parameter& parameter : parameters_) {
    const at::Tensor& gradient = parameter.value.grad();
    if (!gradient.defined()) continue;
    ++parameter.steps;
    all.parameters.push_back(parameter.value);
    all.gradients.push_back(gradient);
    for (std::size_t i = 0; i < parameter.kept.size(); ++i) {
      at::Tensor& kept = parameter.kept[i];
      if (!kept.defined()) kept = at::zeros_like(parameter.value);
      all.kept[i].push_back(kept);
    }
    if (kept_.counts_steps && !all.number.defined()) {  // all parameters have made as many
      all.number = at::full({}, static_cast<double>(parameter.steps), skip.options());
      if (skipped.defined()) all.number.sub_(skipped[0]);
    }
  }
  if (!all.parameters.empty()) update(all);
}

std::unique_ptr<BackboneOptimizer> make_backbone_optimizer(
    std::string_view name, const BackboneOptimizer::Parameters& parameters,
    const BackboneOptimizerOptions& options) {
  std::string known;
  for (const auto& optimizer : kBuiltInOptimizers) {
    if (optimizer.name == name) return optimizer.make(parameters, options);
    known += (known.empty() ? "" : ", ") + std::string(optimizer.name);
  }
  throw Error("there is no optimizer named '" + std::string(name) + "'; there are " + known);
}

}  // namespace pfc
