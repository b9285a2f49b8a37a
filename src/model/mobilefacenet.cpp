#include "model/mobilefacenet.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "model/autocast.h"
#include "model/kaiming.h"
#include "model/layer_graph.h"
#include "model/layers.h"

namespace pfc {
namespace {

/// Channels and size of the head's input map.
constexpr std::int64_t kLastWidth = 512, kLastSize = 7;

/// A part of the network: [b, in, h, w] -> [b, out, h / stride, w / stride].
class Part : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(const torch::Tensor& x) = 0;
};

enum class Activation { kNone, kPRelu };

/// Convolution, batch normalisation and, if requested, PReLU.
class ConvBlock : public Part {
 public:
  explicit ConvBlock(const ConvShape& shape, Activation activation = Activation::kPRelu) {
    auto layers = add<torch::nn::Module>(*this, "layers");
    conv_ = add<Conv>(*layers, "0", shape);
    bn_ = add<BatchNorm>(*layers, "1", shape.out);
    if (activation == Activation::kPRelu) prelu_ = add<PRelu>(*layers, "2", shape.out);
  }

  torch::Tensor forward(const torch::Tensor& x) override { return forward(x, /*residual=*/{}); }
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& residual) {
    return bn_->forward(conv_->forward(x), prelu_ ? prelu_->weight : torch::Tensor(), residual);
  }

 private:
  std::shared_ptr<Conv> conv_;
  std::shared_ptr<BatchNorm> bn_;
  std::shared_ptr<PRelu> prelu_;
};

struct BottleneckShape {
  std::int64_t in, out;  ///< channels
  std::int64_t inner;    ///< channels of the depthwise convolution
  std::int64_t stride = 1;
  bool residual = false;
};

/// Expands to `inner` channels, applies a depthwise 3 × 3 convolution, and reduces again without an
/// activation.
class Bottleneck : public Part {
 public:
  explicit Bottleneck(const BottleneckShape& shape) : residual_(shape.residual) {
    auto layers = add<torch::nn::Module>(*this, "layers");
    expand_ =
        add<ConvBlock>(*layers, "0", ConvShape{.in = shape.in, .out = shape.inner, .kernel = 1});
    depthwise_ = add<ConvBlock>(*layers, "1",
                                ConvShape{.in = shape.inner,
                                          .out = shape.inner,
                                          .kernel = 3,
                                          .stride = shape.stride,
                                          .groups = shape.inner});
    project_ =
        add<ConvBlock>(*layers, "2", ConvShape{.in = shape.inner, .out = shape.out, .kernel = 1},
                       Activation::kNone);
  }

  torch::Tensor forward(const torch::Tensor& x) override {
    const auto y = depthwise_->forward(expand_->forward(x));
    return project_->forward(y, residual_ ? x : torch::Tensor());
  }

 private:
  bool residual_;
  std::shared_ptr<ConvBlock> expand_, depthwise_, project_;
};

/// Bottlenecks that keep size and width; each is added to its input.
class Residuals : public Part {
 public:
  Residuals(std::int64_t count, std::int64_t width, std::int64_t inner) {
    auto layers = add<torch::nn::Module>(*this, "layers");
    for (std::int64_t i = 0; i < count; ++i) {
      blocks_.push_back(add<Bottleneck>(
          *layers, std::to_string(i),
          BottleneckShape{.in = width, .out = width, .inner = inner, .residual = true}));
    }
  }

  torch::Tensor forward(const torch::Tensor& x) override {
    auto y = x;
    for (const auto& block : blocks_) y = block->forward(y);
    return y;
  }

 private:
  std::vector<std::shared_ptr<Bottleneck>> blocks_;
};

/// A depthwise convolution over the whole map in place of the mean, then a linear layer. The
/// corners of the map show less of a face than its middle, so each place has its own weight.
class Head : public torch::nn::Module {
 public:
  explicit Head(std::int64_t embedding_size) {
    auto layers = add<torch::nn::Module>(*this, "layers");
    depthwise_ = add<ConvBlock>(*layers, "0",
                                ConvShape{.in = kLastWidth,
                                          .out = kLastWidth,
                                          .kernel = kLastSize,
                                          .padding = 0,
                                          .groups = kLastWidth},
                                Activation::kNone);
    // "1" of InsightFace's model is the flattening.
    fc_ = add<Linear>(*layers, "2", kLastWidth, embedding_size, /*has_bias=*/false);
    bn_ = add<BatchNorm>(*layers, "3", embedding_size);
  }

  /// x [b, 512, 7, 7] -> [b, embedding_size]
  torch::Tensor forward(const torch::Tensor& x) {
    return bn_->forward(fc_->forward(depthwise_->forward(x).flatten(1)));
  }

 private:
  std::shared_ptr<ConvBlock> depthwise_;
  std::shared_ptr<Linear> fc_;
  std::shared_ptr<BatchNorm> bn_;
};

class MobileFaceNet : public Backbone {
 public:
  MobileFaceNet(const MobileFaceNetShape& shape, std::int64_t embedding_size, std::uint64_t seed) {
    const std::int64_t narrow = 64 * shape.scale, wide = 128 * shape.scale;
    layers_ = add<torch::nn::Module>(*this, "layers");
    append<ConvBlock>(ConvShape{.in = 3, .out = narrow, .kernel = 3, .stride = 2});
    if (shape.blocks[0] == 1) {  // at 56 × 56 a single block is one grouped convolution
      append<ConvBlock>(ConvShape{.in = narrow, .out = narrow, .kernel = 3, .groups = 64});
    } else {
      append<Residuals>(shape.blocks[0], narrow, 128);
    }
    append<Bottleneck>(BottleneckShape{.in = narrow, .out = narrow, .inner = 128, .stride = 2});
    append<Residuals>(shape.blocks[1], narrow, 128);
    append<Bottleneck>(BottleneckShape{.in = narrow, .out = wide, .inner = 256, .stride = 2});
    append<Residuals>(shape.blocks[2], wide, 256);
    append<Bottleneck>(BottleneckShape{.in = wide, .out = wide, .inner = 512, .stride = 2});
    append<Residuals>(shape.blocks[3], wide, 256);
    conv_sep_ =
        add<ConvBlock>(*this, "conv_sep", ConvShape{.in = wide, .out = kLastWidth, .kernel = 1});
    features_ = add<Head>(*this, "features", embedding_size);
    initialise(seed);
  }

  bool is_recordable() const override { return true; }

  torch::Tensor forward(torch::Tensor images) override {
    auto x = images;
    for (const auto& part : parts_) x = part->forward(x);
    const Autocast off(x.device(), torch::kFloat);  // the embedding is not rounded
    return features_->forward(conv_sep_->forward(in_float32(x)));
  }

 private:
  template <class Kind, class... Arguments>
  void append(const Arguments&... arguments) {
    parts_.push_back(add<Kind>(*layers_, std::to_string(parts_.size()), arguments...));
  }

  void initialise(std::uint64_t seed) {
    const torch::NoGradGuard no_grad;
    const auto generator = at::detail::createCPUGenerator(seed);
    for (const auto& module : modules(/*include_self=*/false)) {
      if (const auto* conv = module->as<Conv>()) draw_kaiming(conv->weight, generator);
      if (const auto* linear = module->as<Linear>()) draw_kaiming(linear->weight, generator);
    }
  }

  std::shared_ptr<torch::nn::Module> layers_;
  std::vector<std::shared_ptr<Part>> parts_;
  std::shared_ptr<ConvBlock> conv_sep_;
  std::shared_ptr<Head> features_;
};

/// The parts above, written down. Each is named `part`, takes `x` and returns what it computes.
class PartsGraph {
 public:
  explicit PartsGraph(LayerGraph& graph) : graph_(graph) {}

  std::string conv_block(const std::string& part, const ConvShape& shape, const std::string& x,
                         Activation activation = Activation::kPRelu) {
    const std::string y =
        graph_.norm(part + ".layers.1", graph_.conv(part + ".layers.0", shape, x));
    return activation == Activation::kPRelu ? graph_.prelu(part + ".layers.2", y) : y;
  }

  std::string bottleneck(const std::string& part, const BottleneckShape& shape,
                         const std::string& x) {
    const std::string layers = part + ".layers.";
    std::string y = conv_block(layers + "0", {.in = shape.in, .out = shape.inner, .kernel = 1}, x);
    y = conv_block(layers + "1",
                   {.in = shape.inner,
                    .out = shape.inner,
                    .kernel = 3,
                    .stride = shape.stride,
                    .groups = shape.inner},
                   y);
    y = conv_block(layers + "2", {.in = shape.inner, .out = shape.out, .kernel = 1}, y,
                   Activation::kNone);
    return shape.residual ? graph_.sum(y, x) : y;
  }

  std::string residuals(const std::string& part, std::int64_t count, std::int64_t width,
                        std::int64_t inner, std::string x) {
    for (std::int64_t i = 0; i < count; ++i) {
      x = bottleneck(part + ".layers." + std::to_string(i),
                     {.in = width, .out = width, .inner = inner, .residual = true}, x);
    }
    return x;
  }

  std::string head(const std::string& part, std::int64_t embedding_size, std::string x) {
    x = conv_block(part + ".layers.0",
                   {.in = kLastWidth,
                    .out = kLastWidth,
                    .kernel = kLastSize,
                    .padding = 0,
                    .groups = kLastWidth},
                   x, Activation::kNone);
    x = graph_.linear(part + ".layers.2", kLastWidth, embedding_size, /*has_bias=*/false,
                      graph_.flatten(x));
    return graph_.norm(part + ".layers.3", x);
  }

 private:
  LayerGraph& graph_;
};

}  // namespace

const std::vector<NamedMobileFaceNet>& named_mobilefacenets() {
  static const std::vector<NamedMobileFaceNet> all = {
      {"mbf", {.blocks = {1, 4, 6, 2}, .scale = 2}},
      {"mbf_large", {.blocks = {2, 8, 12, 4}, .scale = 4}},
  };
  return all;
}

std::shared_ptr<Backbone> make_mobilefacenet(const MobileFaceNetShape& shape,
                                             std::int64_t embedding_size, std::uint64_t seed) {
  return std::make_shared<MobileFaceNet>(shape, embedding_size, seed);
}

OnnxGraph mobilefacenet_graph(const MobileFaceNetShape& shape, std::int64_t embedding_size) {
  const std::int64_t narrow = 64 * shape.scale, wide = 128 * shape.scale;
  LayerGraph graph;
  PartsGraph parts(graph);
  std::string x = parts.conv_block("layers.0", {.in = 3, .out = narrow, .kernel = 3, .stride = 2},
                                   graph.input());
  if (shape.blocks[0] == 1) {
    x = parts.conv_block("layers.1", {.in = narrow, .out = narrow, .kernel = 3, .groups = 64}, x);
  } else {
    x = parts.residuals("layers.1", shape.blocks[0], narrow, 128, x);
  }
  const BottleneckShape smaller[] = {
      {.in = narrow, .out = narrow, .inner = 128, .stride = 2},
      {.in = narrow, .out = wide, .inner = 256, .stride = 2},
      {.in = wide, .out = wide, .inner = 512, .stride = 2},
  };
  const std::int64_t inner[] = {128, 256, 256};
  for (std::size_t stage = 1; stage < 4; ++stage) {
    const BottleneckShape& first = smaller[stage - 1];
    x = parts.bottleneck("layers." + std::to_string(2 * stage), first, x);
    x = parts.residuals("layers." + std::to_string(2 * stage + 1), shape.blocks[stage], first.out,
                        inner[stage - 1], x);
  }
  x = parts.conv_block("conv_sep", {.in = wide, .out = kLastWidth, .kernel = 1}, x);
  return graph.ended_with(parts.head("features", embedding_size, x));
}

std::optional<std::int64_t> mobilefacenet_embedding_size(const MobileFaceNetShape& shape,
                                                         const TensorShapes& tensors) {
  if (extent(tensors, "layers.0.layers.0.weight", 0) != 64 * shape.scale) return std::nullopt;
  for (std::size_t stage = 1; stage < 4; ++stage) {  // the stem, then two parts for each stage
    const std::string part = "layers." + std::to_string(2 * stage + 1) + ".layers.";
    if (!has_numbered(tensors, part, shape.blocks[stage], ".layers.0.layers.0.weight")) {
      return std::nullopt;
    }
  }
  return extent(tensors, "features.layers.2.weight", 0);
}

}  // namespace pfc
