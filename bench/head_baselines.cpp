#include "head_baselines.h"

#include <ATen/Functions.h>
#include <torch/autograd.h>
#include <torch/nn/functional/normalization.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <tuple>
#include <utility>

namespace pfc {
namespace {

/// The mean of −log softmax at the labels, with probabilities of at least 1e-30. It holds one
/// matrix, the logits': forward turns it into the probabilities, and backward into the gradient.
struct CrossEntropyInPlace : torch::autograd::Function<CrossEntropyInPlace> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& logits,
                            const at::Tensor& labels) {
    at::Tensor probabilities = logits.detach();
    probabilities.sub_(probabilities.amax(1, /*keepdim=*/true)).exp_();
    probabilities.div_(probabilities.sum(1, /*keepdim=*/true));
    context->save_for_backward({probabilities, labels});
    return probabilities.gather(1, labels.unsqueeze(1)).clamp_min_(1e-30).log_().mean().neg_();
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& d_loss) {
    const auto saved = context->get_saved_variables();
    const at::Tensor labels = saved[1].unsqueeze(1);
    at::Tensor d_logits = saved[0];
    d_logits.scatter_add_(1, labels, at::full(labels.sizes(), -1, d_logits.options()));
    d_logits.mul_(d_loss[0] / d_logits.size(0));
    return {d_logits, at::Tensor()};
  }
};

/// CosFace over the classes whose centres are the rows of `weights`; labels are row numbers.
at::Tensor margin_softmax(const BaselineOptions& options, const at::Tensor& embeddings,
                          const at::Tensor& weights, const at::Tensor& labels) {
  namespace F = torch::nn::functional;
  at::Tensor logits = F::normalize(embeddings)
                          .to(options.gemm)
                          .mm(F::normalize(weights).to(options.gemm).t())
                          .to(at::kFloat)
                          .clamp(-1, 1);
  const at::Tensor own = labels.unsqueeze(1);
  logits.scatter_add_(1, own, at::full(own.sizes(), -options.margin, logits.options()));
  logits.mul_(options.scale);
  return CrossEntropyInPlace::apply(logits, labels);
}

/// Draws the classes of a step, ascending: every class gets a random number, and the batch's own
/// classes come first.
at::Tensor draw(const BaselineOptions& options, std::int64_t classes, const at::Tensor& labels) {
  const at::Tensor positives = std::get<0>(at::_unique(labels));
  at::Tensor keys = at::rand({classes}, at::TensorOptions(labels.device()));
  keys.index_fill_(0, positives, 2);
  const std::int64_t share =
      static_cast<std::int64_t>(options.sample_rate * static_cast<double>(classes));
  const at::Tensor drawn = std::get<1>(keys.topk(std::max(share, positives.size(0)), /*dim=*/0,
                                                 /*largest=*/true, /*sorted=*/false));
  return std::get<0>(drawn.sort());
}

class DenseBaseline final : public HeadBaseline {
 public:
  DenseBaseline(const BaselineOptions& options, const at::Tensor& weights)
      : options_(options),
        weights_(weights.detach().requires_grad_()),
        optimizer_({weights_}, torch::optim::SGDOptions(options.lr)
                                   .momentum(options.momentum)
                                   .weight_decay(options.weight_decay)) {}

  Step step(const at::Tensor& embeddings, const at::Tensor& labels) override {
    const at::Tensor x = embeddings.detach().requires_grad_();
    at::Tensor loss;
    if (options_.sample_rate < 1) {
      const at::Tensor classes = draw(options_, weights_.size(0), labels);
      loss =
          margin_softmax(options_, x, weights_.index({classes}), at::searchsorted(classes, labels));
    } else {
      loss = margin_softmax(options_, x, weights_, labels);
    }
    loss.backward();
    optimizer_.step();
    optimizer_.zero_grad();
    return {loss.detach(), x.grad()};
  }

 private:
  BaselineOptions options_;
  at::Tensor weights_;
  torch::optim::SGD optimizer_;
};

class GatherBaseline final : public HeadBaseline {
 public:
  GatherBaseline(const BaselineOptions& options, const at::Tensor& weights)
      : options_(options), weights_(weights), momentum_(at::zeros_like(weights)) {}

  Step step(const at::Tensor& embeddings, const at::Tensor& labels) override {
    if (options_.sample_rate == 1) return train(weights_, momentum_, embeddings, labels);
    const at::Tensor classes = draw(options_, weights_.size(0), labels);
    const at::Tensor weights = weights_.index_select(0, classes);
    const at::Tensor momentum = momentum_.index_select(0, classes);
    Step step = train(weights, momentum, embeddings, at::searchsorted(classes, labels));
    weights_.index_copy_(0, classes, weights);
    momentum_.index_copy_(0, classes, momentum);
    return step;
  }

 private:
  /// Updates weights and momentum in place, with an optimizer that is given the momentum.
  Step train(const at::Tensor& weights, const at::Tensor& momentum, const at::Tensor& embeddings,
             const at::Tensor& labels) const {
    const at::Tensor x = embeddings.detach().requires_grad_();
    const at::Tensor w = weights.detach().requires_grad_();
    const at::Tensor loss = margin_softmax(options_, x, w, labels);
    loss.backward();
    torch::optim::SGD optimizer({w}, torch::optim::SGDOptions(options_.lr)
                                         .momentum(options_.momentum)
                                         .weight_decay(options_.weight_decay));
    auto state = std::make_unique<torch::optim::SGDParamState>();
    state->momentum_buffer(momentum);
    optimizer.state()[w.unsafeGetTensorImpl()] = std::move(state);
    optimizer.step();
    return {loss.detach(), x.grad()};
  }

  BaselineOptions options_;
  at::Tensor weights_, momentum_;
};

}  // namespace

std::unique_ptr<HeadBaseline> make_dense_baseline(const BaselineOptions& options,
                                                  const at::Tensor& weights) {
  return std::make_unique<DenseBaseline>(options, weights);
}

std::unique_ptr<HeadBaseline> make_gather_baseline(const BaselineOptions& options,
                                                   const at::Tensor& weights) {
  return std::make_unique<GatherBaseline>(options, weights);
}

}  // namespace pfc
