#include "model/folded_norms.h"

#include <torch/utils.h>

namespace pfc {
namespace {

bool is_folded(const BatchNorm& norm) {
  if (!norm.weight.defined()) return false;
  const auto all = [](const torch::Tensor& values, double value) {
    return values.eq(static_cast<float>(value)).all().item<bool>();
  };
  return all(norm.running_var, 1 - norm.epsilon()) && all(norm.running_mean, 0) &&
         all(norm.weight, 1);
}

}  // namespace

std::vector<std::shared_ptr<BatchNorm>> folded_norms(const Backbone& backbone) {
  std::vector<std::shared_ptr<BatchNorm>> found;
  for (const auto& module : backbone.modules(/*include_self=*/false)) {
    const auto norm = std::dynamic_pointer_cast<BatchNorm>(module);
    if (norm && is_folded(*norm)) found.push_back(norm);
  }
  return found;
}

void measure_norms(const std::vector<std::shared_ptr<BatchNorm>>& norms,
                   const std::function<void()>& evaluate) {
  std::vector<ChannelMoments> moments(norms.size());
  const auto observe = [&](bool on) {
    for (std::size_t i = 0; i < norms.size(); ++i) norms[i]->observe(on ? &moments[i] : nullptr);
  };
  observe(true);
  try {
    evaluate();
  } catch (...) {
    observe(false);
    throw;
  }
  observe(false);
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < norms.size(); ++i) {
    if (moments[i].count() == 0) continue;
    const torch::Tensor mean = moments[i].mean(), variance = moments[i].variance();
    norms[i]->weight.copy_((variance + norms[i]->epsilon()).sqrt());
    norms[i]->bias.add_(mean);
    norms[i]->running_mean.copy_(mean);
    norms[i]->running_var.copy_(variance);
  }
}

}  // namespace pfc
