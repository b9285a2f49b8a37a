#include "model/ir.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <numeric>
#include <utility>

#include "model/autocast.h"
#include "model/kaiming.h"
#include "model/layers.h"

namespace pfc {
namespace {

constexpr std::array<std::int64_t, 4> kIrWidths = {64, 128, 256, 512};
constexpr std::int64_t kIrMapSize = 7;

class IrBlock : public torch::nn::Module {
 public:
  IrBlock(std::int64_t in, std::int64_t out, std::int64_t stride, bool is_evolve)
      : stride_(stride) {
    if (in != out) {
      auto shortcut = add<torch::nn::Module>(*this, "shortcut_layer");
      shortcut_conv_ =
          add<Conv>(*shortcut, "0", ConvShape{.in = in, .out = out, .kernel = 1, .stride = stride});
      shortcut_bn_ = add<BatchNorm>(*shortcut, "1", out);
    }
    auto layers = add<torch::nn::Module>(*this, "res_layer");
    std::int64_t count = 0;
    const auto next = [&] { return std::to_string(count++); };
    opening_ = add<BatchNorm>(*layers, next(), in);
    conv1_ = add<Conv>(*layers, next(), ConvShape{.in = in, .out = out, .kernel = 3});
    if (!is_evolve) middle_ = add<BatchNorm>(*layers, next(), out);
    prelu_ = add<PRelu>(*layers, next(), out);
    conv2_ =
        add<Conv>(*layers, next(), ConvShape{.in = out, .out = out, .kernel = 3, .stride = stride});
    closing_ = add<BatchNorm>(*layers, next(), out);
  }

  /// x [b, in, h, w] -> [b, out, h / stride, w / stride]
  torch::Tensor forward(const torch::Tensor& x) {
    const auto kept = shortcut(x);
    auto y = conv1_->forward(opening_->forward(x));
    y = middle_ ? middle_->forward(y, prelu_->weight) : at::prelu(y, prelu_->weight);
    return closing_->forward(conv2_->forward(y), /*slope=*/{}, kept);
  }

 private:
  torch::Tensor shortcut(const torch::Tensor& x) {
    if (shortcut_conv_) return shortcut_bn_->forward(shortcut_conv_->forward(x));
    return stride_ == 1 ? x : at::max_pool2d(x, /*kernel_size=*/1, stride_);
  }

  std::int64_t stride_;
  std::shared_ptr<Conv> shortcut_conv_, conv1_, conv2_;
  std::shared_ptr<BatchNorm> shortcut_bn_, opening_, middle_, closing_;
  std::shared_ptr<PRelu> prelu_;
};

class Ir : public Backbone {
 public:
  Ir(const IrShape& shape, std::int64_t embedding_size, std::uint64_t seed) {
    auto stem = add<torch::nn::Module>(*this, "input_layer");
    conv_ = add<Conv>(*stem, "0", ConvShape{.in = 3, .out = kIrWidths[0], .kernel = 3});
    bn_ = add<BatchNorm>(*stem, "1", kIrWidths[0]);
    prelu_ = add<PRelu>(*stem, "2", kIrWidths[0]);
    auto body = add<torch::nn::Module>(*this, "body");
    std::int64_t channels = kIrWidths[0];
    for (std::size_t stage = 0; stage < kIrWidths.size(); ++stage) {
      for (std::int64_t i = 0; i < shape.blocks[stage]; ++i) {
        blocks_.push_back(add<IrBlock>(*body, std::to_string(blocks_.size()), channels,
                                       kIrWidths[stage], i == 0 ? 2 : 1, shape.is_evolve));
        channels = kIrWidths[stage];
      }
    }
    auto head = add<torch::nn::Module>(*this, "output_layer");
    last_bn_ = add<BatchNorm>(*head, "0", channels);
    // "1" and "2" are a dropout and the flattening.
    fc_ = add<Linear>(*head, "3", channels * kIrMapSize * kIrMapSize, embedding_size);
    features_ = add<BatchNorm>(*head, "4", embedding_size, BatchNorm::kEpsilon,
                               /*has_affine=*/shape.is_evolve);
    initialise(seed);
  }

  bool is_recordable() const override { return true; }

  torch::Tensor forward(torch::Tensor images) override {
    auto x = bn_->forward(conv_->forward(images), prelu_->weight);
    for (const auto& block : blocks_) x = block->forward(x);
    x = in_float32(last_bn_->forward(x).flatten(1));
    const Autocast off(x.device(), torch::kFloat);  // the embedding is not rounded
    return features_->forward(fc_->forward(x));
  }

 private:
  /// AdaFace's.
  void initialise(std::uint64_t seed) {
    const torch::NoGradGuard no_grad;
    const auto generator = at::detail::createCPUGenerator(seed);
    for (const auto& module : modules(/*include_self=*/false)) {
      if (const auto* conv = module->as<Conv>()) draw_kaiming(conv->weight, generator);
    }
    draw_kaiming(fc_->weight, generator);
    fc_->bias.zero_();
  }

  std::shared_ptr<Conv> conv_;
  std::shared_ptr<BatchNorm> bn_, last_bn_, features_;
  std::shared_ptr<PRelu> prelu_;
  std::vector<std::shared_ptr<IrBlock>> blocks_;
  std::shared_ptr<Linear> fc_;
};

}  // namespace

const std::vector<NamedIr>& named_irs() {
  static const std::vector<NamedIr> all = {
      {"ir_18", {.blocks = {2, 2, 2, 2}}},
      {"ir_34", {.blocks = {3, 4, 6, 3}}},
      {"ir_50", {.blocks = {3, 4, 14, 3}}},
      {"ir_101", {.blocks = {3, 13, 30, 3}}},
      {"ir_50_evolve", {.blocks = {3, 4, 14, 3}, .is_evolve = true}},
      {"ir_101_evolve", {.blocks = {3, 13, 30, 3}, .is_evolve = true}},
      {"ir_152_evolve", {.blocks = {3, 8, 36, 3}, .is_evolve = true}},
  };
  return all;
}

std::shared_ptr<Backbone> make_ir(const IrShape& shape, std::int64_t embedding_size,
                                  std::uint64_t seed) {
  return std::make_shared<Ir>(shape, embedding_size, seed);
}

std::optional<std::int64_t> ir_embedding_size(const IrShape& shape, const TensorShapes& tensors) {
  const std::int64_t blocks =
      std::accumulate(shape.blocks.begin(), shape.blocks.end(), std::int64_t{0});
  const bool is_evolve = !tensors.contains("body.0.res_layer.5.running_mean");
  if (extent(tensors, "input_layer.0.weight", 0) != kIrWidths[0] || is_evolve != shape.is_evolve ||
      !has_numbered(tensors, "body.", blocks, ".res_layer.1.weight")) {
    return std::nullopt;
  }
  return extent(tensors, "output_layer.3.weight", 0);
}

}  // namespace pfc
