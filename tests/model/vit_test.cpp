#include "model/vit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <map>

#include "model/backbone_state.h"
#include "model/layers.h"

namespace pfc {
namespace {

constexpr std::int64_t kTokens = 144, kPatch = 9, kGrid = 12;
constexpr VitShape kSmall{.dim = 16, .depth = 2, .heads = 4};

/// Training mode, but the embedding of an image does not depend on the others of its batch.
std::shared_ptr<Backbone> without_batch_statistics(const VitShape& shape, std::uint64_t seed) {
  const auto backbone = make_vit(shape, 8, seed);
  for (const auto& module : backbone->modules(/*include_self=*/false)) {
    if (module->as<BatchNorm>() != nullptr) module->eval();
  }
  return backbone;
}

torch::Tensor forward(Backbone& backbone, const torch::Tensor& images, std::int64_t step,
                      std::int64_t first_image) {
  backbone.set_draws(step, first_image, images.size(0));
  return backbone.forward(images);
}

std::vector<torch::Tensor> buffer_values(const Backbone& backbone) {
  std::vector<torch::Tensor> values;
  for (const torch::Tensor& buffer : backbone.buffers())
    values.push_back(buffer.to(torch::kDouble).flatten().clone());
  return values;
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

TEST(Vit, ParameterNamesAreTheFieldsOnes) {
  std::vector<std::string> names;
  for (const auto& item : make_vit(kSmall, 8, 0)->named_parameters()) names.push_back(item.key());
  std::vector<std::string> want = {"pos_embed", "mask_token", "patch_embed.proj.weight",
                                   "patch_embed.proj.bias"};
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    for (const std::string part :
         {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.qkv.weight",
          "attn.proj.weight", "attn.proj.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight",
          "mlp.fc2.bias"}) {
      want.push_back(block + part);
    }
  }
  for (const std::string tail :
       {"norm.weight", "norm.bias", "feature.0.weight", "feature.1.weight", "feature.1.bias",
        "feature.2.weight", "feature.3.weight", "feature.3.bias"}) {
    want.push_back(tail);
  }
  EXPECT_EQ(names, want);
}

/// Computed from the structure. Nothing is allocated, so the largest ones are counted too.
std::int64_t parameters_of(const VitShape& shape, std::int64_t embedding_size) {
  const std::int64_t d = shape.dim;
  const std::int64_t tokens = kTokens * d + d + (3 * kPatch * kPatch + 1) * d;
  const std::int64_t norm = 2 * d, attention = 4 * d * d + d, mlp = 8 * d * d + 5 * d;
  const std::int64_t head = kTokens * d * d + 2 * d + embedding_size * d + 2 * embedding_size;
  return tokens + shape.depth * (2 * norm + attention + mlp) + norm + head;
}

TEST(Vit, SizesFollowFromTheShapes) {
  EXPECT_EQ(parameter_count(*make_vit(kSmall, 8, 0)), parameters_of(kSmall, 8));
  EXPECT_EQ(parameter_count(*make_backbone("vit_t", 512, 0)),
            parameters_of({.dim = 256, .depth = 12}, 512));
  const std::map<std::string, double> million = {
      {"vit_t", 19.14},
      {"vit_s", 76.02},
      {"vit_b", 113.83},
      {"vit_l", 255.68},
      {"vit_h", 756.39},
      {"vit_t_dp005_mask0", 19.14},
      {"vit_s_dp005_mask_0", 76.02},
      {"vit_b_dp005_mask_005", 113.83},
      {"vit_l_dp005_mask_005", 255.68},
  };
  EXPECT_EQ(named_vits().size(), million.size());
  for (const auto& [name, shape] : named_vits()) {
    EXPECT_NEAR(static_cast<double>(parameters_of(shape, 512)) / 1e6, million.at(name), 0.005)
        << name;
  }
}

using State = std::map<std::string, torch::Tensor>;

torch::Tensor layer_norm(const torch::Tensor& x, const State& state, const std::string& name) {
  const auto centred = x - x.mean(-1, true);
  return centred / (centred.square().mean(-1, true) + 1e-5).sqrt() * state.at(name + ".weight") +
         state.at(name + ".bias");
}

torch::Tensor batch_norm(const torch::Tensor& x, const State& state, const std::string& name) {
  return (x - state.at(name + ".running_mean")) / (state.at(name + ".running_var") + 2e-5).sqrt() *
             state.at(name + ".weight") +
         state.at(name + ".bias");
}

/// The attention of one image, with loops: row [3, heads, size] of qkv's output is q, k, v of each
/// head.
torch::Tensor attention(const torch::Tensor& x, const State& state, const std::string& name) {
  const std::int64_t heads = kSmall.heads, size = kSmall.dim / heads;
  const auto qkv = x.matmul(state.at(name + ".qkv.weight").t()).contiguous();
  const auto in = qkv.accessor<double, 2>();
  const auto at = [&](std::int64_t token, std::int64_t which, std::int64_t head, std::int64_t i) {
    return in[token][which * kSmall.dim + head * size + i];
  };
  auto mixed = torch::zeros_like(x);
  auto out = mixed.accessor<double, 2>();
  std::vector<double> weights(kTokens);
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t query = 0; query < kTokens; ++query) {
      double sum = 0;
      for (std::int64_t key = 0; key < kTokens; ++key) {
        double product = 0;
        for (std::int64_t i = 0; i < size; ++i)
          product += at(query, 0, head, i) * at(key, 1, head, i);
        auto& weight = weights[static_cast<std::size_t>(key)];
        weight = std::exp(product / std::sqrt(static_cast<double>(size)));
        sum += weight;
      }
      for (std::int64_t key = 0; key < kTokens; ++key) {
        const double weight = weights[static_cast<std::size_t>(key)] / sum;
        for (std::int64_t i = 0; i < size; ++i) {
          out[query][head * size + i] += weight * at(key, 2, head, i);
        }
      }
    }
  }
  return mixed.matmul(state.at(name + ".proj.weight").t()) + state.at(name + ".proj.bias");
}

torch::Tensor mlp(const torch::Tensor& x, const State& state, const std::string& name) {
  const auto hidden = x.matmul(state.at(name + ".fc1.weight").t()) + state.at(name + ".fc1.bias");
  return hidden.clamp(0, 6).matmul(state.at(name + ".fc2.weight").t()) +
         state.at(name + ".fc2.bias");
}

/// Patches of an image [3, 112, 112] -> [tokens, dim].
torch::Tensor tokens(const torch::Tensor& image, const State& state) {
  std::vector<torch::Tensor> rows;
  for (std::int64_t i = 0; i < kTokens; ++i) {
    const auto patch =
        image.narrow(1, i / kGrid * kPatch, kPatch).narrow(2, i % kGrid * kPatch, kPatch);
    rows.push_back((state.at("patch_embed.proj.weight") * patch).sum({1, 2, 3}));
  }
  return torch::stack(rows) + state.at("patch_embed.proj.bias") + state.at("pos_embed")[0];
}

TEST(Vit, EqualsASlowOneInDoublePrecision) {
  const torch::NoGradGuard no_grad;
  const auto backbone = make_vit(kSmall, 8, 1);
  auto generator = at::detail::createCPUGenerator(5);
  State state;
  for (const auto& [name, tensor] : state_of(*backbone)) {
    if (!tensor.is_floating_point()) continue;
    if (name.ends_with("running_var")) {
      tensor.uniform_(0.5, 2, generator);
    } else {
      tensor.normal_(
          0, 0.4, generator);  // large enough for the upper end of ReLU6 and for uneven attention
    }
    state[name] = tensor.to(torch::kFloat64);
  }
  backbone->eval();
  const auto images = torch::randn({2, 3, 112, 112}, generator);
  const auto got = backbone->forward(images);
  for (std::int64_t image = 0; image < 2; ++image) {
    auto x = tokens(images[image].to(torch::kFloat64), state);
    for (const std::string block : {"blocks.0", "blocks.1"}) {
      x = x + attention(layer_norm(x, state, block + ".norm1"), state, block + ".attn");
      x = x + mlp(layer_norm(x, state, block + ".norm2"), state, block + ".mlp");
    }
    x = layer_norm(x, state, "norm").flatten().matmul(state.at("feature.0.weight").t());
    x = batch_norm(x, state, "feature.1").matmul(state.at("feature.2.weight").t());
    EXPECT_LT(distance(got[image], batch_norm(x, state, "feature.3")), 1e-4) << image;
  }
}

TEST(Vit, InitialValuesAreTheFieldsOnes) {
  for (const auto& [name, tensor] : state_of(*make_backbone("vit_t", 512, 3))) {
    const double patch_bound = 1 / std::sqrt(3.0 * kPatch * kPatch);
    if (name.starts_with("patch_embed")) {
      EXPECT_LE(tensor.abs().max().item<double>(), patch_bound * (1 + 1e-6)) << name;
      EXPECT_NEAR(tensor.std().item<double>(), patch_bound / std::sqrt(3), 0.1 * patch_bound);
    } else if (tensor.dim() > 1) {
      EXPECT_NEAR(tensor.std().item<double>(), 0.02, 0.003) << name;
    } else if (name.ends_with("bias")) {
      EXPECT_TRUE((tensor == 0).all().item<bool>()) << name;
    } else if (name.ends_with("weight")) {
      EXPECT_TRUE((tensor == 1).all().item<bool>()) << name;
    }
  }
}

TEST(Vit, AForwardInTrainingNeedsItsOwnDraws) {
  const auto backbone = make_vit(kSmall, 8, 1);
  const auto images = torch::randn({2, 3, 112, 112});
  EXPECT_THROW(backbone->forward(images), std::logic_error);
  forward(*backbone, images, 0, 0);
  EXPECT_THROW(backbone->forward(images), std::logic_error);
  backbone->eval();
  backbone->forward(images);
}

TEST(Vit, DrawsDependOnSeedStepAndPositionAlone) {
  const VitShape shape{
      .dim = 16, .depth = 3, .stochastic_depth = 0.5, .hidden_share = 0.3, .heads = 4};
  const torch::NoGradGuard no_grad;
  const auto backbone = without_batch_statistics(shape, 1);
  const auto images = torch::randn({6, 3, 112, 112});
  const auto whole = forward(*backbone, images, 5, 8);
  const auto parts = torch::cat({forward(*backbone, images.narrow(0, 0, 2), 5, 8),
                                 forward(*backbone, images.narrow(0, 2, 4), 5, 10)});
  EXPECT_LT(distance(parts, whole), 1e-4);

  const auto other_seed = without_batch_statistics(shape, 2);
  for (std::size_t i = 0; i < backbone->parameters().size(); ++i) {
    other_seed->parameters()[i].copy_(backbone->parameters()[i]);
  }
  EXPECT_GT(distance(forward(*other_seed, images, 5, 8), whole), 1e-2);
  EXPECT_GT(distance(forward(*backbone, images, 6, 8), whole), 1e-2);
  EXPECT_GT(distance(forward(*backbone, images, 5, 9), whole), 1e-2);
}

/// [b, tokens] bool: the tokens on which the embeddings do not depend.
torch::Tensor hidden_tokens(Backbone& backbone, std::int64_t images, std::int64_t step) {
  const auto input = torch::randn({images, 3, 112, 112}).requires_grad_();
  forward(backbone, input, step, 0).square().sum().backward();
  const auto touched = input.grad().abs().amax(1, true);
  return at::max_pool2d(touched, kPatch).flatten(1) == 0;
}

TEST(Vit, ATokenOfAnImageIsHiddenAsOftenAsAnyOther) {
  const auto backbone =
      without_batch_statistics({.dim = 8, .depth = 1, .hidden_share = 0.25, .heads = 1}, 1);
  constexpr std::int64_t kImages = 96;
  const auto hidden = hidden_tokens(*backbone, kImages, 0);
  EXPECT_TRUE((hidden.sum(1) == kTokens / 4).all().item<bool>());
  const double expected = kImages / 4.0;
  const auto chi2 = (hidden.sum(0) - expected).square().sum() / (expected * 0.75);
  EXPECT_LT(chi2.item<double>(), 201);  // 143 degrees of freedom, p = 0.001
  EXPECT_FALSE(torch::equal(hidden[0], hidden[1]));
}

TEST(Vit, HiddenTokensAreSeenInEvaluation) {
  const auto backbone = make_vit({.dim = 8, .depth = 1, .hidden_share = 0.25, .heads = 1}, 8, 1);
  backbone->eval();
  EXPECT_EQ(hidden_tokens(*backbone, 2, 0).sum().item<std::int64_t>(), 0);
}

// The first block's rate is 0 and the last one's 0.5. Its MLP is made constant, and is dropped or
// doubled.
TEST(Vit, ABranchIsDroppedOrScaledUpByTheInverseOfItsShare) {
  const auto backbone = without_batch_statistics(
      {.dim = 8, .depth = 2, .stochastic_depth = 0.5, .hidden_share = 0, .heads = 1}, 1);
  const torch::NoGradGuard no_grad;
  auto parameters = backbone->named_parameters();
  parameters["blocks.1.attn.proj.weight"].zero_();
  parameters["blocks.1.mlp.fc2.weight"].zero_();
  auto& constant = parameters["blocks.1.mlp.fc2.bias"];
  constant.copy_(torch::arange(8));

  constexpr std::int64_t kImages = 64;
  const auto images = torch::randn({kImages, 3, 112, 112});
  const auto got = forward(*backbone, images, 0, 0);
  backbone->eval();
  constant.mul_(2);
  const auto kept = (backbone->forward(images) - got).abs().amax(1) < 1e-5;
  constant.zero_();
  const auto dropped = (backbone->forward(images) - got).abs().amax(1) < 1e-5;
  EXPECT_TRUE((kept ^ dropped).all().item<bool>());
  EXPECT_NEAR(dropped.sum().item<double>(), kImages / 2, 4 * std::sqrt(kImages) / 2);
}

TEST(Vit, EveryParameterGetsAGradient) {
  const auto backbone = make_vit(kSmall, 8, 1);
  forward(*backbone, torch::randn({4, 3, 112, 112}), 0, 0).square().sum().backward();
  for (const auto& item : backbone->named_parameters()) {
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
  }
}

constexpr VitShape kLowRank{.dim = 16, .depth = 2, .heads = 4, .lora_rank = 3};

/// A network whose low-rank parts have learnt something.
std::shared_ptr<Backbone> with_low_rank() {
  const auto backbone = make_vit(kLowRank, 8, 5);
  const torch::NoGradGuard no_grad;
  for (const auto& module : backbone->modules(/*include_self=*/false)) {
    if (const auto* part = module->as<LowRank>()) part->up.normal_(0, 0.1);
  }
  return backbone;
}

TEST(VitLowRank, ChangesNothingBeforeItTrains) {
  const torch::NoGradGuard no_grad;
  const auto plain = make_vit(kSmall, 8, 5), low_rank = make_vit(kLowRank, 8, 5);
  plain->eval();
  low_rank->eval();
  const torch::Tensor images = torch::randn({3, 3, 112, 112});
  EXPECT_TRUE(low_rank->forward(images).equal(plain->forward(images)));
}

TEST(VitLowRank, TrainsAlone) {
  const auto backbone = make_vit(kLowRank, 8, 5);
  const auto buffers_before = torch::cat(buffer_values(*backbone));
  forward(*backbone, torch::randn({4, 3, 112, 112}), 0, 0).square().sum().backward();
  std::int64_t training = 0;
  for (const auto& item : backbone->named_parameters()) {
    EXPECT_EQ(item.value().grad().defined(), is_low_rank(item.key())) << item.key();
    if (is_low_rank(item.key())) training += item.value().numel();
  }
  // rank · (in + out) of qkv, proj, fc1 and fc2
  EXPECT_EQ(training, 2 * 3 * (16 + 48 + 16 + 16 + 16 + 64 + 64 + 16));
  EXPECT_TRUE(torch::cat(buffer_values(*backbone)).equal(buffers_before)) << "batch normalisation";
}

TEST(VitLowRank, MergedEqualsUnmerged) {
  const torch::NoGradGuard no_grad;
  const auto backbone = with_low_rank(), plain = make_vit(kSmall, 8, 5);
  backbone->eval();
  plain->eval();
  const torch::Tensor images = torch::randn({3, 3, 112, 112});
  const torch::Tensor apart = backbone->forward(images);
  EXPECT_GT(distance(plain->forward(images), apart), 1e-3) << "it has learnt something";
  backbone->merge_low_rank();
  EXPECT_LT(distance(backbone->forward(images), apart), 1e-5);
  EXPECT_EQ(backbone->named_parameters().keys(), plain->named_parameters().keys());
}

}  // namespace
}  // namespace pfc
