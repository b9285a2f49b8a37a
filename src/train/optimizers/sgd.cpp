#include <ATen/Functions.h>

#include "train/optimizers/built_in.h"

namespace pfc {
namespace {

/// torch.optim.SGD.
class Sgd : public BackboneOptimizer {
 public:
  Sgd(const Parameters& parameters, const BackboneOptimizerOptions& options)
      : BackboneOptimizer("sgd", parameters,
                          options.momentum == 0 ? Kept{} : Kept{.tensors = {"momentum"}}),
        options_(options) {}

 private:
  void update(const Step& step) override {
    // From a momentum of 0 the first step is that of a momentum which begins as the gradient.
    at::_fused_sgd_(step.parameters, step.gradients,
                    step.kept.empty() ? std::vector<at::Tensor>() : step.kept[0],
                    options_.weight_decay, options_.momentum, step.lr, /*dampening=*/0,
                    /*nesterov=*/false, /*maximize=*/false, /*is_first_step=*/false,
                    /*grad_scale=*/{}, step.skip);
  }

  BackboneOptimizerOptions options_;
};

}  // namespace

std::unique_ptr<BackboneOptimizer> make_sgd(const BackboneOptimizer::Parameters& parameters,
                                            const BackboneOptimizerOptions& options) {
  return std::make_unique<Sgd>(parameters, options);
}

}  // namespace pfc
