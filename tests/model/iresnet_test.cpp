#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "pfc/base/error.h"
#include "pfc/model/backbone.h"

namespace pfc {
namespace {

constexpr std::int64_t kDim = 512;

/// Parameters and buffers by name, in the order of registration.
std::vector<std::pair<std::string, torch::Tensor>> state_of(const Backbone& backbone) {
  std::vector<std::pair<std::string, torch::Tensor>> state;
  for (const auto& item : backbone.named_parameters()) state.emplace_back(item.key(), item.value());
  for (const auto& item : backbone.named_buffers()) state.emplace_back(item.key(), item.value());
  return state;
}

std::int64_t parameter_count(const Backbone& backbone) {
  std::int64_t count = 0;
  for (const auto& parameter : backbone.parameters()) count += parameter.numel();
  return count;
}

/// sin(frequency·i + phase) over the flat index, in float64.
torch::Tensor sine(torch::IntArrayRef shape, double frequency, double phase) {
  return torch::sin(
             torch::arange(torch::tensor(shape).prod().item<std::int64_t>(), torch::kFloat64) *
                 frequency +
             phase)
      .reshape(shape);
}

/// The value that the fixtures' formula gives to a tensor of this name.
torch::Tensor formula(const std::string& name, const torch::Tensor& tensor) {
  std::int64_t sum = 0;
  for (std::size_t k = 0; k < name.size(); ++k) {
    sum += static_cast<std::int64_t>(k + 1) * static_cast<unsigned char>(name[k]);
  }
  const auto s =
      sine(tensor.sizes(), 0.37, static_cast<double>(sum % 1000) / 1000 * 2 * std::numbers::pi);
  if (name.ends_with("running_var")) return 1 + 0.2 * s;
  if (name.ends_with("running_mean") || name.ends_with("bias")) return 0.1 * s;
  if (tensor.dim() == 4) {
    const auto fan_in = static_cast<double>(tensor.numel() / tensor.size(0));
    return 1.4 * std::sqrt(2 / fan_in) * s;
  }
  if (tensor.dim() == 2) return 1.4 / std::sqrt(static_cast<double>(tensor.size(1))) * s;
  if (name.ends_with("prelu.weight")) return 0.25 + 0.05 * s;
  return 1 + 0.1 * s;
}

class Reference : public testing::TestWithParam<std::string> {};

TEST_P(Reference, EmbeddingsAreThoseOfTheFieldsNetwork) {
  const char* fixtures = std::getenv("PFC_FIXTURES");
  if (fixtures == nullptr) GTEST_SKIP() << "PFC_FIXTURES is unset: no reference embeddings";
  const auto want =
      nlohmann::json::parse(std::ifstream(std::string(fixtures) + "/networks.json")).at(GetParam());

  const torch::NoGradGuard no_grad;
  const auto backbone = make_backbone(GetParam(), kDim, 0);
  backbone->eval();
  const auto state = state_of(*backbone);
  EXPECT_EQ(state.size(), want.at("keys").get<std::size_t>());
  EXPECT_EQ(parameter_count(*backbone), want.at("parameters").get<std::int64_t>());
  if (want.contains("state_dict")) {
    for (const auto& [name, tensor] : state) {
      ASSERT_TRUE(want.at("state_dict").contains(name)) << name;
      EXPECT_EQ(want.at("state_dict").at(name).get<std::vector<std::int64_t>>(),
                tensor.sizes().vec())
          << name;
    }
  }

  for (const auto& [name, tensor] : state) {
    if (tensor.is_floating_point()) tensor.copy_(formula(name, tensor));  // rounds to float32
  }
  backbone->to(torch::kFloat64);
  const auto images = sine({2, 3, 112, 112}, 0.11, 0).to(torch::kFloat32).to(torch::kFloat64);
  const auto embeddings = backbone->forward(images);
  ASSERT_EQ(embeddings.sizes(), (std::vector<std::int64_t>{2, kDim}));
  for (std::int64_t image = 0; image < 2; ++image) {
    const auto i = static_cast<std::size_t>(image);
    const auto norm = want.at("norms")[i].get<double>();
    EXPECT_NEAR(embeddings[image].norm().item<double>(), norm, 1e-6 * norm);
    for (std::size_t k = 0; k < 8; ++k) {
      const auto value = want.at("first8")[i][k].get<double>();
      EXPECT_NEAR(embeddings[image][static_cast<std::int64_t>(k)].item<double>(), value,
                  1e-6 * std::abs(value))
          << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(IResNet, Reference, testing::Values("r18", "r34", "r50", "r100"),
                         [](const auto& info) { return info.param; });

/// Multiply-adds of convolutions and linear layers for one image: each weight's elements, once for
/// every pixel of its output.
double multiply_adds(Backbone& backbone) {
  const torch::NoGradGuard no_grad;
  backbone.eval();
  double total = 0;
  std::map<std::string, std::int64_t> sizes;
  const auto half = [](std::int64_t size) { return (size + 1) / 2; };
  // Sizes follow from the names: a block's conv1 works at the size that enters the block, all else
  // at what leaves it.
  std::int64_t size = 112;
  std::int64_t entering = size;
  std::string block;
  const bool is_tiny = backbone.named_parameters()["conv1.weight"].size(0) == 16;
  for (const auto& item : backbone.named_parameters()) {
    const auto& name = item.key();
    const auto& weight = item.value();
    if (weight.dim() == 2) total += static_cast<double>(weight.numel());
    if (weight.dim() != 4) continue;
    if (name == "conv1.weight") {
      if (is_tiny) size = half(size);
    } else if (const auto now = name.substr(0, name.find('.', name.find('.') + 1)); now != block) {
      block = now;
      entering = size;
      if (block.ends_with(".0") && !(is_tiny && block == "layer1.0")) size = half(size);
    }
    const auto at = name.ends_with("conv1.weight") && name != "conv1.weight" ? entering : size;
    total += static_cast<double>(weight.numel() * at * at);
  }
  return total;
}

struct Published {
  std::string name;
  double million_parameters;
  double giga_multiply_adds;
};

class Size : public testing::TestWithParam<Published> {};

TEST_P(Size, ParametersAndMultiplyAddsAreThePublishedOnes) {
  const auto backbone = make_backbone(GetParam().name, kDim, 0);
  EXPECT_NEAR(static_cast<double>(parameter_count(*backbone)) / 1e6, GetParam().million_parameters,
              0.005);
  EXPECT_NEAR(multiply_adds(*backbone) / 1e9, GetParam().giga_multiply_adds, 0.005);
}

INSTANTIATE_TEST_SUITE_P(
    IResNet, Size,
    testing::Values(Published{"r18", 24.03, 2.61}, Published{"r34", 34.14, 4.46},
                    Published{"r50", 43.59, 6.31}, Published{"r100", 65.16, 12.09},
                    Published{"r124", 86.41, 14.86}, Published{"r200", 118.83, 23.42},
                    Published{"tiny", 3.82, 0.11}),
    [](const auto& info) { return info.param.name; });

TEST(Backbone, InitialValuesDependOnTheSeedAlone) {
  torch::manual_seed(1);
  at::set_num_threads(1);
  const auto first = state_of(*make_backbone("tiny", 64, 7));
  torch::manual_seed(2);
  at::set_num_threads(2);
  const auto before = torch::rand({});
  torch::manual_seed(2);
  const auto second = state_of(*make_backbone("tiny", 64, 7));
  EXPECT_TRUE(torch::equal(torch::rand({}), before)) << "the process-wide generator moved";
  const auto other = state_of(*make_backbone("tiny", 64, 8));
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(torch::equal(first[i].second, second[i].second)) << first[i].first;
    if (first[i].second.dim() > 1) {
      EXPECT_FALSE(torch::equal(first[i].second, other[i].second)) << first[i].first;
    }
  }
}

TEST(Backbone, InitialValuesAreTheFieldsOnes) {
  for (const auto& [name, tensor] : state_of(*make_backbone("tiny", kDim, 3))) {
    if (tensor.dim() == 4 && tensor.numel() > 1000) {
      EXPECT_NEAR(tensor.std().item<double>(), 0.1, 0.01) << name;
      EXPECT_NEAR(tensor.mean().item<double>(), 0, 0.01) << name;
    } else if (name.starts_with("fc.")) {
      const double bound = 1 / std::sqrt(128.0 * 7 * 7);
      EXPECT_LE(tensor.abs().max().item<double>(), bound) << name;
      EXPECT_NEAR(tensor.std().item<double>(), bound / std::sqrt(3.0), 0.05 * bound) << name;
    } else if (name.ends_with("prelu.weight")) {
      EXPECT_TRUE((tensor == 0.25).all().item<bool>()) << name;
    } else if (name == "features.weight") {
      EXPECT_TRUE((tensor == 1).all().item<bool>());
      EXPECT_FALSE(tensor.requires_grad());
    }
  }
}

TEST(Backbone, EveryParameterGetsAGradientExceptTheFrozenOnes) {
  const auto backbone = make_backbone("tiny", 32, 1);
  backbone->forward(torch::randn({4, 3, 112, 112})).square().sum().backward();
  for (const auto& item : backbone->named_parameters()) {
    EXPECT_EQ(item.value().grad().defined(), item.key() != "features.weight") << item.key();
  }
}

TEST(Backbone, AnUnknownNetworkIsToldTheKnownOnes) {
  EXPECT_THAT(
      [] { make_backbone("r19", kDim, 0); },
      testing::Throws<Error>(testing::Property(
          &Error::what, testing::StrEq("network 'r19' is unknown; known: r18 r34 r50 r100 r124 "
                                       "r200 tiny"))));
  EXPECT_THROW(make_backbone("r18", 0, 0), Error);
}

TEST(ToNetworkInput, MapsBytesToMinusOneToOne) {
  const auto pixels = torch::randint(0, 256, {2, 112, 112, 3}, torch::kUInt8);
  const auto images = to_network_input(pixels);
  const auto want = ((pixels.to(torch::kFloat64) / 255 - 0.5) / 0.5).permute({0, 3, 1, 2});
  EXPECT_EQ(images.scalar_type(), torch::kFloat32);
  EXPECT_TRUE(images.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_LT((images - want).abs().max().item<double>(), 1e-7);
  EXPECT_EQ(to_network_input(torch::full({1, 112, 112, 3}, 255, torch::kUInt8)).min().item<float>(),
            1);
  EXPECT_EQ(to_network_input(torch::zeros({1, 112, 112, 3}, torch::kUInt8)).max().item<float>(),
            -1);
}

}  // namespace
}  // namespace pfc
