#pragma once

#include <torch/nn/module.h>

#include <memory>
#include <utility>
#include <vector>

namespace pfc {

/// Puts a network into evaluation mode for a while. Its modules may have different modes (some may
/// be frozen), so each gets its own mode back.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& network)
      : network_(network), was_training_(network.is_training()) {
    for (auto& module : network.modules(/*include_self=*/false)) {
      parts_.emplace_back(module, module->is_training());
    }
    network_.eval();
  }
  ~EvaluationMode() {
    network_.train(was_training_);
    // A module passes its mode on to its parts, and comes before them in this list.
    for (const auto& [module, training] : parts_) module->train(training);
  }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  torch::nn::Module& network_;
  bool was_training_;
  std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> parts_;
};

}  // namespace pfc
