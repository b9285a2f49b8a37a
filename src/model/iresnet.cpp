#include "model/iresnet.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "model/autocast.h"
#include "model/layer_graph.h"
#include "model/layers.h"

namespace pfc {
namespace {

constexpr std::int64_t kImageSize = 112;

class ResidualBlock : public torch::nn::Module {
 public:
  ResidualBlock(std::int64_t in, std::int64_t out, std::int64_t stride)
      : bn1_(add<BatchNorm>(*this, "bn1", in)),
        conv1_(add<Conv>(*this, "conv1", ConvShape{.in = in, .out = out, .kernel = 3})),
        bn2_(add<BatchNorm>(*this, "bn2", out)),
        prelu_(add<PRelu>(*this, "prelu", out)),
        conv2_(add<Conv>(*this, "conv2",
                         ConvShape{.in = out, .out = out, .kernel = 3, .stride = stride})),
        bn3_(add<BatchNorm>(*this, "bn3", out)) {
    if (stride == 1 && in == out) return;
    auto downsample = add<torch::nn::Module>(*this, "downsample");
    shortcut_conv_ =
        add<Conv>(*downsample, "0", ConvShape{.in = in, .out = out, .kernel = 1, .stride = stride});
    shortcut_bn_ = add<BatchNorm>(*downsample, "1", out);
  }

  /// Between its opening normalisation and the one of the block behind it.
  BatchNorm& opening() { return *bn1_; }

  /// x [b, in, h, w] and what `opening` makes of it -> the same for the block that `next` opens,
  /// [b, out, h / stride, w / stride].
  NormedSum forward(const NormedSum& x, BatchNorm& next) {
    auto y = conv1_->forward(x.normalised);
    y = bn2_->forward(y, prelu_->weight);
    y = conv2_->forward(y);
    return bn3_->forward_into(
        next, y, shortcut_conv_ ? shortcut_bn_->forward(shortcut_conv_->forward(x.sum)) : x.sum);
  }

 private:
  std::shared_ptr<BatchNorm> bn1_;
  std::shared_ptr<Conv> conv1_;
  std::shared_ptr<BatchNorm> bn2_;
  std::shared_ptr<PRelu> prelu_;
  std::shared_ptr<Conv> conv2_;
  std::shared_ptr<BatchNorm> bn3_;
  std::shared_ptr<Conv> shortcut_conv_;
  std::shared_ptr<BatchNorm> shortcut_bn_;
};

class IResNet : public Backbone {
 public:
  IResNet(const IResNetShape& shape, std::int64_t embedding_size, std::uint64_t seed)
      : conv1_(add<Conv>(
            *this, "conv1",
            ConvShape{.in = 3, .out = shape.widths[0], .kernel = 3, .stride = shape.stem_stride})),
        bn1_(add<BatchNorm>(*this, "bn1", shape.widths[0])),
        prelu_(add<PRelu>(*this, "prelu", shape.widths[0])) {
    std::int64_t channels = shape.widths[0];
    std::int64_t size = kImageSize / shape.stem_stride;
    for (std::size_t stage = 0; stage < 4; ++stage) {
      auto layer = add<torch::nn::Module>(*this, "layer" + std::to_string(stage + 1));
      for (std::int64_t i = 0; i < shape.blocks[stage]; ++i) {
        blocks_.push_back(add<ResidualBlock>(*layer, std::to_string(i), channels,
                                             shape.widths[stage],
                                             i == 0 ? shape.strides[stage] : 1));
        channels = shape.widths[stage];
      }
      size /= shape.strides[stage];
    }
    bn2_ = add<BatchNorm>(*this, "bn2", channels);
    fc_ = add<Linear>(*this, "fc", channels * size * size, embedding_size);
    features_ = add<BatchNorm>(*this, "features", embedding_size);
    features_->weight.requires_grad_(false);
    initialise(seed);
  }

  bool is_recordable() const override { return true; }

  torch::Tensor forward(torch::Tensor images) override {
    const auto stem = bn1_->forward(conv1_->forward(images), prelu_->weight);
    // Each block ends in the normalisation that opens the next one, because the two share a pass.
    NormedSum x{stem, blocks_.front()->opening().forward(stem)};
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      x = blocks_[i]->forward(x, i + 1 < blocks_.size() ? blocks_[i + 1]->opening() : *bn2_);
    const auto last = in_float32(x.normalised.flatten(1));
    const Autocast off(last.device(), torch::kFloat);  // the embedding is not rounded
    return features_->forward(fc_->forward(last));
  }

 private:
  void initialise(std::uint64_t seed) {
    const torch::NoGradGuard no_grad;
    const auto generator = at::detail::createCPUGenerator(seed);
    for (const auto& module : modules(/*include_self=*/false)) {
      if (auto* conv = module->as<Conv>()) conv->weight.normal_(0, 0.1, generator);
    }
    const double bound = 1 / std::sqrt(static_cast<double>(fc_->weight.size(1)));
    fc_->weight.uniform_(-bound, bound, generator);
    fc_->bias.uniform_(-bound, bound, generator);
  }

  std::shared_ptr<Conv> conv1_;
  std::shared_ptr<BatchNorm> bn1_;
  std::shared_ptr<PRelu> prelu_;
  std::vector<std::shared_ptr<ResidualBlock>> blocks_;
  std::shared_ptr<BatchNorm> bn2_;
  std::shared_ptr<Linear> fc_;
  std::shared_ptr<BatchNorm> features_;
};

}  // namespace

const std::vector<NamedIResNet>& named_iresnets() {
  static const std::vector<NamedIResNet> all = {
      {"r18", {.blocks = {2, 2, 2, 2}}},
      {"r34", {.blocks = {3, 4, 6, 3}}},
      {"r50", {.blocks = {3, 4, 14, 3}}},
      {"r100", {.blocks = {3, 13, 30, 3}}},
      {"r124", {.blocks = {3, 13, 40, 5}}},
      {"r200", {.blocks = {6, 26, 60, 6}}},
      // For CPUs. The stem's stride stands in for that of the first stage, so that the last map is
      // 7 × 7 as in the family: 0.11 GMAC, 3.61 M parameters.
      {"tiny",
       {.blocks = {1, 2, 2, 1},
        .widths = {16, 32, 64, 128},
        .strides = {1, 2, 2, 2},
        .stem_stride = 2}},
  };
  return all;
}

std::shared_ptr<Backbone> make_iresnet(const IResNetShape& shape, std::int64_t embedding_size,
                                       std::uint64_t seed) {
  return std::make_shared<IResNet>(shape, embedding_size, seed);
}

OnnxGraph iresnet_graph(const IResNetShape& shape, std::int64_t embedding_size) {
  LayerGraph graph;
  const ConvShape stem{.in = 3, .out = shape.widths[0], .kernel = 3, .stride = shape.stem_stride};
  std::string x = graph.prelu("prelu", graph.norm("bn1", graph.conv("conv1", stem, graph.input())));
  std::int64_t in = shape.widths[0], size = kImageSize / shape.stem_stride;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const std::int64_t out = shape.widths[stage];
    for (std::int64_t i = 0; i < shape.blocks[stage]; ++i) {
      const std::string block = "layer" + std::to_string(stage + 1) + "." + std::to_string(i) + ".";
      const std::int64_t stride = i == 0 ? shape.strides[stage] : 1;
      std::string y = graph.norm(block + "bn1", x);
      y = graph.conv(block + "conv1", {.in = in, .out = out, .kernel = 3}, y);
      y = graph.prelu(block + "prelu", graph.norm(block + "bn2", y));
      y = graph.conv(block + "conv2", {.in = out, .out = out, .kernel = 3, .stride = stride}, y);
      y = graph.norm(block + "bn3", y);
      if (stride != 1 || in != out) {
        const ConvShape shortcut{.in = in, .out = out, .kernel = 1, .stride = stride};
        x = graph.norm(block + "downsample.1", graph.conv(block + "downsample.0", shortcut, x));
      }
      x = graph.sum(y, x);
      in = out;
    }
    size /= shape.strides[stage];
  }
  x = graph.flatten(graph.norm("bn2", x));
  x = graph.linear("fc", in * size * size, embedding_size, /*has_bias=*/true, x);
  return graph.ended_with(graph.norm("features", x));
}

std::optional<std::int64_t> iresnet_embedding_size(const IResNetShape& shape,
                                                   const TensorShapes& tensors) {
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const std::string layer = "layer" + std::to_string(stage + 1) + ".";
    if (extent(tensors, layer + "0.conv1.weight", 0) != shape.widths[stage] ||
        !has_numbered(tensors, layer, shape.blocks[stage], ".conv1.weight")) {
      return std::nullopt;
    }
  }
  return extent(tensors, "fc.weight", 0);
}

}  // namespace pfc
