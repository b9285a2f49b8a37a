#include "pfc/train/backbone_pass.h"

#include <torch/autograd.h>
#include <torch/nn/functional/normalization.h>

#include "model/autocast.h"
#include "pfc/train/train_step.h"
#include "train/recorded_pass.h"

namespace pfc {
namespace {

class PlainPass final : public BackbonePass {
 public:
  explicit PlainPass(Training& training)
      : backbone_(training.backbone),
        gradients_(training.gradients),
        scaler_(training.scaler),
        precision_(training.precision),
        with_lengths_(uses_length(training.head.options().loss)) {}

  Embeddings forward(const at::Tensor& pixels) override {
    x_ = embed(to_network_input(pixels));
    return x_;
  }

  void backward(const at::Tensor& d_unit, const at::Tensor& d_lengths, bool is_last) override {
    if (is_last) gradients_.send_when_full();
    const Embeddings x = std::exchange(x_, {});
    if (d_lengths.defined()) {
      torch::autograd::backward({x.unit, x.lengths}, {scaled(d_unit), scaled(d_lengths)});
    } else {
      x.unit.backward(scaled(d_unit));
    }
    if (is_last) gradients_.finish();
  }

 private:
  /// images [b, 3, 112, 112] -> [b, d] unit rows, and the lengths [b] where the loss uses them.
  Embeddings embed(const at::Tensor& images) {
    const Autocast autocast(images.device(), precision_);
    const at::Tensor x = backbone_.forward(images);
    const Autocast off(images.device(), at::kFloat);
    const at::Tensor embeddings = x.to(at::kFloat);
    return {torch::nn::functional::normalize(embeddings),
            with_lengths_ ? embeddings.norm(2, 1) : at::Tensor()};
  }

  at::Tensor scaled(const at::Tensor& gradient) const {
    return scaler_ == nullptr ? gradient : scaler_->scaled(gradient);
  }

  Backbone& backbone_;
  GradientBuckets& gradients_;
  const LossScaler* scaler_;
  at::ScalarType precision_;
  bool with_lengths_;
  Embeddings x_;  ///< of the last forward, with what its backward needs
};

}  // namespace

std::unique_ptr<BackbonePass> make_plain_pass(Training& training) {
  return std::make_unique<PlainPass>(training);
}

std::unique_ptr<BackbonePass> make_backbone_pass(Training& training) {
  auto plain = make_plain_pass(training);
  const bool is_recordable = training.head.device().is_cuda() &&
                             training.backbone.is_recordable() && training.comm.is_recordable();
  return is_recordable ? make_recorded_pass(std::move(plain), training) : std::move(plain);
}

}  // namespace pfc
