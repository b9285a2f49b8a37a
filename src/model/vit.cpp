#include "model/vit.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <optional>
#include <stdexcept>
#include <utility>

#include "comm/send.h"
#include "model/autocast.h"
#include "model/layers.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

constexpr std::int64_t kPatch = 9, kTokens = 12 * 12, kMlpRatio = 4;
constexpr double kHeadEpsilon = 2e-5;

/// The random numbers of a forward pass in training, for consecutive images of the global batch.
class Draws {
 public:
  Draws(std::uint64_t seed, std::int64_t step, std::int64_t first_image)
      : seed_(seed), step_(static_cast<std::uint64_t>(step)), first_image_(first_image) {}

  /// -> [images, count] int64: tokens of each image, ascending; every subset has the same
  /// probability (selection sampling; Knuth, TAOCP 2, 3.4.2, algorithm S).
  at::Tensor tokens(std::int64_t images, std::int64_t count) const {
    const CounterRandom random(seed_, RandomStream::kTokenMask);
    auto chosen = at::empty({images, count}, at::kLong);
    auto* next = chosen.mutable_data_ptr<std::int64_t>();
    for (std::int64_t image = 0; image < images; ++image) {
      std::int64_t missing = count;
      for (std::int64_t token = 0; missing > 0; ++token) {
        if (random.below(kTokens - token, step_, counter(image, token)) >= missing) continue;
        *next++ = token;
        --missing;
      }
    }
    return chosen;
  }

  /// -> [images, 1, 1] float32: the factor of a branch's value, 0 with probability `rate`.
  at::Tensor branch_scales(std::int64_t images, double rate, std::int64_t branch) const {
    const CounterRandom random(seed_, RandomStream::kStochasticDepth);
    auto scales = at::empty({images, 1, 1});
    auto* scale = scales.mutable_data_ptr<float>();
    for (std::int64_t image = 0; image < images; ++image) {
      const double uniform =
          std::ldexp(static_cast<double>(random.bits(step_, counter(image, branch))), -64);
      scale[image] = uniform < rate ? 0.0f : static_cast<float>(1 / (1 - rate));
    }
    return scales;
  }

 private:
  std::uint64_t counter(std::int64_t image, std::int64_t index) const {
    return static_cast<std::uint64_t>(first_image_ + image) << 32 |
           static_cast<std::uint64_t>(index);
  }

  std::uint64_t seed_, step_;
  std::int64_t first_image_;
};

/// What was drawn, on the network's device.
struct Drawn {
  at::Tensor tokens;  ///< [images, count] see Draws::tokens; undefined if all tokens are seen
  at::Tensor scales;  ///< [branches, images, 1, 1] see Draws::branch_scales; undefined if none drop
};

/// A recorded forward pass reads the numbers where they were when it was recorded.
void put(const at::Tensor& drawn, at::Device device, at::Tensor& place) {
  const at::NoGradGuard no_grad;
  if (device.is_cpu()) {
    place = drawn;
    return;
  }
  if (!place.defined() || place.sizes() != drawn.sizes() || place.device() != device)
    place = at::empty_like(drawn, device);
  place.copy_(send(drawn, device));
}

class PatchProjection : public torch::nn::Module {
 public:
  explicit PatchProjection(std::int64_t dim)
      : weight(register_parameter("weight", torch::empty({dim, 3, kPatch, kPatch}))),
        bias(register_parameter("bias", torch::empty(dim))) {}

  /// images [b, 3, 112, 112] -> [b, tokens, dim], row by row of the image
  torch::Tensor forward(const torch::Tensor& images) const {
    return at::conv2d(images, weight, bias, kPatch).flatten(2).transpose(1, 2);
  }

  torch::Tensor weight, bias;  ///< [dim, 3, patch, patch], [dim]
};

class Attention : public torch::nn::Module {
 public:
  Attention(std::int64_t dim, std::int64_t heads)
      : heads_(heads),
        qkv_(add<Linear>(*this, "qkv", dim, 3 * dim, /*has_bias=*/false)),
        proj_(add<Linear>(*this, "proj", dim, dim)) {}

  /// x [b, n, dim] -> [b, n, dim]
  torch::Tensor forward(const torch::Tensor& x) const {
    const auto qkv =
        qkv_->forward(x).unflatten(2, {3, heads_, -1}).permute({2, 0, 3, 1, 4}).unbind();
    // q, k, v [b, heads, n, dim / heads]. This single operator keeps no [n, n] map for the backward
    // pass. In training on a CPU it took 0.63 to 0.97 times as long as its parts.
    return proj_->forward(
        at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).flatten(2));
  }

 private:
  std::int64_t heads_;
  std::shared_ptr<Linear> qkv_, proj_;
};

class Mlp : public torch::nn::Module {
 public:
  explicit Mlp(std::int64_t dim)
      : fc1_(add<Linear>(*this, "fc1", dim, kMlpRatio * dim)),
        fc2_(add<Linear>(*this, "fc2", kMlpRatio * dim, dim)) {}

  torch::Tensor forward(const torch::Tensor& x) const {
    return fc2_->forward(at::relu6(fc1_->forward(x)));
  }

 private:
  std::shared_ptr<Linear> fc1_, fc2_;
};

class TransformerBlock : public torch::nn::Module {
 public:
  /// `rate` is that of stochastic depth; `number` is the place of the block.
  TransformerBlock(const VitShape& shape, std::int64_t number, double rate)
      : number_(number),
        rate_(rate),
        norm1_(add<LayerNorm>(*this, "norm1", shape.dim)),
        norm2_(add<LayerNorm>(*this, "norm2", shape.dim)),
        attn_(add<Attention>(*this, "attn", shape.dim, shape.heads)),
        mlp_(add<Mlp>(*this, "mlp", shape.dim)) {}

  /// x [b, n, dim] -> [b, n, dim]; no branch is dropped if `scales` (Drawn's) is undefined.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& scales) const {
    const auto y = sum(x, attn_->forward(norm1_->forward(x)), scales, 2 * number_);
    return sum(y, mlp_->forward(norm2_->forward(y)), scales, 2 * number_ + 1);
  }
  double rate() const { return rate_; }

 private:
  torch::Tensor sum(const torch::Tensor& x, const torch::Tensor& value, const torch::Tensor& scales,
                    std::int64_t branch) const {
    if (!scales.defined() || rate_ == 0) return x + value;
    return x.addcmul(value, scales[branch].to(x.scalar_type()));
  }

  std::int64_t number_;
  double rate_;
  std::shared_ptr<LayerNorm> norm1_, norm2_;
  std::shared_ptr<Attention> attn_;
  std::shared_ptr<Mlp> mlp_;
};

class Vit : public Backbone {
 public:
  Vit(const VitShape& shape, std::int64_t embedding_size, std::uint64_t seed)
      : seed_(seed),
        seen_tokens_(static_cast<std::int64_t>(kTokens * (1 - shape.hidden_share))),
        pos_embed_(register_parameter("pos_embed", torch::empty({1, kTokens, shape.dim}))),
        mask_token_(register_parameter("mask_token", torch::empty({1, 1, shape.dim}))),
        patches_(add<PatchProjection>(*add<torch::nn::Module>(*this, "patch_embed"), "proj",
                                      shape.dim)) {
    auto blocks = add<torch::nn::Module>(*this, "blocks");
    for (std::int64_t i = 0; i < shape.depth; ++i) {
      const double rate = i == 0 ? 0
                                 : shape.stochastic_depth * static_cast<double>(i) /
                                       static_cast<double>(shape.depth - 1);
      blocks_.push_back(add<TransformerBlock>(*blocks, std::to_string(i), shape, i, rate));
    }
    norm_ = add<LayerNorm>(*this, "norm", shape.dim);
    auto feature = add<torch::nn::Module>(*this, "feature");
    fc1_ = add<Linear>(*feature, "0", kTokens * shape.dim, shape.dim, /*has_bias=*/false);
    bn1_ = add<BatchNorm>(*feature, "1", shape.dim, kHeadEpsilon);
    fc2_ = add<Linear>(*feature, "2", shape.dim, embedding_size, /*has_bias=*/false);
    bn2_ = add<BatchNorm>(*feature, "3", embedding_size, kHeadEpsilon);
    const auto generator = at::detail::createCPUGenerator(seed_);
    initialise(generator);
    if (shape.lora_rank > 0) add_low_rank(linear_layers(*blocks), shape.lora_rank, generator);
  }

  bool is_recordable() const override { return true; }

  torch::Tensor forward(torch::Tensor images) override {
    const Drawn drawn = is_training() ? take_draws() : Drawn();
    auto x = patches_->forward(images) + pos_embed_;
    x = drawn.tokens.defined() ? features_of_some(x, drawn) : features(x, drawn);
    x = in_float32(x.flatten(1));
    const Autocast off(x.device(), torch::kFloat);  // the embedding is not rounded
    return bn2_->forward(fc2_->forward(bn1_->forward(fc1_->forward(x))));
  }

  void set_draws(std::int64_t step, std::int64_t first_image, std::int64_t images) override {
    const Draws draws(seed_, step, first_image);
    if (seen_tokens_ < kTokens)
      put(draws.tokens(images, seen_tokens_), pos_embed_.device(), drawn_.tokens);
    if (blocks_.back()->rate() > 0)
      put(branch_scales(draws, images), pos_embed_.device(), drawn_.scales);
    has_draws_ = true;
  }

 private:
  const Drawn& take_draws() {
    if (!std::exchange(has_draws_, false))  // a second forward pass would repeat the draws
      throw std::logic_error("a forward in training needs set_draws before it");
    return drawn_;
  }

  at::Tensor branch_scales(const Draws& draws, std::int64_t images) const {
    std::vector<at::Tensor> all;
    for (const auto& block : blocks_) {
      for (std::int64_t of_two = 0; of_two < 2; ++of_two)
        all.push_back(draws.branch_scales(images, block->rate(), std::ssize(all)));
    }
    return at::stack(all);
  }

  /// x [b, n, dim] -> [b, n, dim]
  torch::Tensor features(torch::Tensor x, const Drawn& drawn) const {
    for (const auto& block : blocks_) x = block->forward(x, drawn.scales);
    return norm_->forward(x);
  }

  /// The same from some of the tokens; the mask token takes the places of the others.
  torch::Tensor features_of_some(const torch::Tensor& x, const Drawn& drawn) const {
    const auto places = drawn.tokens.unsqueeze(2).expand({-1, -1, x.size(2)});
    return mask_token_.expand_as(x).scatter(1, places, features(x.gather(1, places), drawn));
  }

  /// InsightFace's code cuts its normal distributions off at ±2, which is a hundred deviations;
  /// here nothing is cut.
  void initialise(const at::Generator& generator) {
    constexpr double kDeviation = 0.02;
    const torch::NoGradGuard no_grad;
    mask_token_.normal_(0, kDeviation, generator);
    pos_embed_.normal_(0, kDeviation, generator);
    const double bound = 1 / std::sqrt(3.0 * kPatch * kPatch);
    patches_->weight.uniform_(-bound, bound, generator);
    patches_->bias.uniform_(-bound, bound, generator);
    for (Linear* linear : linear_layers(*this)) {
      linear->weight.normal_(0, kDeviation, generator);
      if (linear->bias.defined()) linear->bias.zero_();
    }
  }

  static std::vector<Linear*> linear_layers(const torch::nn::Module& part) {
    std::vector<Linear*> found;
    for (const auto& module : part.modules(/*include_self=*/false)) {
      if (auto* linear = module->as<Linear>()) found.push_back(linear);
    }
    return found;
  }

  /// They alone train from now on.
  void add_low_rank(const std::vector<Linear*>& linears, std::int64_t rank,
                    const at::Generator& generator) {
    const torch::NoGradGuard no_grad;
    freeze_all();
    for (Linear* linear : linears) {
      linear->add_low_rank(rank);
      const double bound = 1 / std::sqrt(static_cast<double>(linear->weight.size(1)));
      linear->low_rank()->down.uniform_(-bound, bound, generator);
    }
  }

  std::uint64_t seed_;
  std::int64_t seen_tokens_;  ///< of each image in training
  Drawn drawn_;
  bool has_draws_ = false;
  torch::Tensor pos_embed_, mask_token_;
  std::shared_ptr<PatchProjection> patches_;
  std::vector<std::shared_ptr<TransformerBlock>> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> fc1_, fc2_;
  std::shared_ptr<BatchNorm> bn1_, bn2_;
};

}  // namespace

const std::vector<NamedVit>& named_vits() {
  // InsightFace's code treats hidden_share as on or off: its 0.05 hides a tenth.
  static const std::vector<NamedVit> all = {
      {"vit_t", {.dim = 256, .depth = 12}},
      {"vit_s", {.dim = 512, .depth = 12}},
      {"vit_b", {.dim = 512, .depth = 24}},
      {"vit_l", {.dim = 768, .depth = 24}},
      {"vit_h", {.dim = 1024, .depth = 48, .hidden_share = 0}},
      {"vit_t_dp005_mask0", {.dim = 256, .depth = 12, .stochastic_depth = 0.05, .hidden_share = 0}},
      {"vit_s_dp005_mask_0",
       {.dim = 512, .depth = 12, .stochastic_depth = 0.05, .hidden_share = 0}},
      {"vit_b_dp005_mask_005",
       {.dim = 512, .depth = 24, .stochastic_depth = 0.05, .hidden_share = 0.05}},
      {"vit_l_dp005_mask_005",
       {.dim = 768, .depth = 24, .stochastic_depth = 0.05, .hidden_share = 0.05}},
  };
  return all;
}

std::shared_ptr<Backbone> make_vit(const VitShape& shape, std::int64_t embedding_size,
                                   std::uint64_t seed) {
  return std::make_shared<Vit>(shape, embedding_size, seed);
}

std::optional<std::int64_t> vit_embedding_size(const VitShape& shape, const TensorShapes& tensors) {
  if (extent(tensors, "pos_embed", 2) != shape.dim ||
      !has_numbered(tensors, "blocks.", shape.depth, ".norm1.weight")) {
    return std::nullopt;
  }
  return extent(tensors, "feature.2.weight", 0);
}

}  // namespace pfc
