#include <ATen/Functions.h>

#include "train/optimizers/built_in.h"

namespace pfc {
namespace {

/// torch.optim.AdamW with its usual betas and epsilon (Loshchilov and Hutter, arXiv 1711.05101).
class AdamW : public BackboneOptimizer {
 public:
  AdamW(const Parameters& parameters, const BackboneOptimizerOptions& options)
      : BackboneOptimizer("adamw", parameters,
                          {.tensors = {"exp_avg", "exp_avg_sq"}, .counts_steps = true}),
        weight_decay_(options.weight_decay) {}

 private:
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

  void update(const Step& step) override {
    const std::vector<at::Tensor> numbers(step.parameters.size(), step.number);
    at::_fused_adamw_(step.parameters, step.gradients, step.kept[0], step.kept[1],
                      /*max_exp_avg_sqs=*/{}, numbers, step.lr, kBeta1, kBeta2, weight_decay_,
                      kEpsilon, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{},
                      step.skip);
  }

  double weight_decay_;
};

}  // namespace

std::unique_ptr<BackboneOptimizer> make_adamw(const BackboneOptimizer::Parameters& parameters,
                                              const BackboneOptimizerOptions& options) {
  return std::make_unique<AdamW>(parameters, options);
}

}  // namespace pfc
