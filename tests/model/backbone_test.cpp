#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "model/backbone_state.h"
#include "pfc/base/error.h"
#include "pfc/model/backbone.h"

namespace pfc {
namespace {

constexpr std::int64_t kDim = 512;

/// sin(frequency·i + phase) over the flat index, in float64.
torch::Tensor sine(torch::IntArrayRef shape, double frequency, double phase) {
  return torch::sin(
             torch::arange(torch::tensor(shape).prod().item<std::int64_t>(), torch::kFloat64) *
                 frequency +
             phase)
      .reshape(shape);
}

/// PReLU slopes are the third part of a block in MobileFaceNet.
bool is_prelu(const std::string& name) {
  return name.ends_with("prelu.weight") || name.ends_with("layers.2.weight");
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
  if (is_prelu(name)) return 0.25 + 0.05 * s;
  return 1 + 0.1 * s;
}

class Reference : public testing::TestWithParam<std::string> {};

TEST_P(Reference, EmbeddingsAreThoseOfTheFieldsNetwork) {
  const char* fixtures = std::getenv("PFC_FIXTURES");
  if (fixtures == nullptr) GTEST_SKIP() << "PFC_FIXTURES is unset: no reference embeddings";
  const auto want =
      nlohmann::json::parse(std::ifstream(std::string(fixtures) + "/networks.json")).at(GetParam());

  // Depthwise convolutions in float64 run group by group, so threads would mostly wait for each
  // other.
  at::set_num_threads(1);
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

INSTANTIATE_TEST_SUITE_P(Networks, Reference, testing::Values("r18", "r34", "r50", "r100", "mbf"),
                         [](const auto& test) { return test.param; });

/// Output shapes of the convolutions and linear layers that this thread runs while it lives.
class Outputs {
 public:
  Outputs()
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(nullptr, note).needsOutputs(true))) {
    shapes_.clear();
  }
  ~Outputs() { at::removeCallback(handle_); }
  Outputs(const Outputs&) = delete;
  Outputs& operator=(const Outputs&) = delete;

  const std::vector<std::vector<std::int64_t>>& shapes() const { return shapes_; }

 private:
  static void note(const at::RecordFunction& call, at::ObserverContext*) {
    const std::string_view name = call.name();
    if (name != "aten::conv2d" && name != "aten::linear") return;
    shapes_.push_back(call.outputs()[0].toTensor().sizes().vec());
  }

  static inline thread_local std::vector<std::vector<std::int64_t>> shapes_;
  at::CallbackHandle handle_;
};

/// Multiply-adds of the convolutions and linear layers for one image: all weights once for each
/// pixel of the output. Layers run in the order in which they are registered.
double multiply_adds_of(Backbone& backbone) {
  backbone.eval();
  const torch::NoGradGuard no_grad;
  const Outputs outputs;
  backbone.forward(torch::empty({0, 3, 112, 112}));  // without images, so that nothing is computed
  double total = 0;
  std::size_t layer = 0;
  for (const auto& weight : backbone.parameters()) {
    if (weight.dim() < 2) continue;
    const auto& shape = outputs.shapes().at(layer++);
    EXPECT_EQ(shape[1], weight.size(0)) << layer;
    const std::int64_t pixels = shape.size() == 4 ? shape[2] * shape[3] : 1;
    total += static_cast<double>(weight.numel() * pixels);
  }
  EXPECT_EQ(layer, outputs.shapes().size());
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
  EXPECT_NEAR(multiply_adds_of(*backbone) / 1e9, GetParam().giga_multiply_adds, 0.005);
}

INSTANTIATE_TEST_SUITE_P(
    Networks, Size,
    testing::Values(Published{"r18", 24.03, 2.61}, Published{"r34", 34.14, 4.46},
                    Published{"r50", 43.59, 6.31}, Published{"r100", 65.16, 12.09},
                    Published{"r124", 86.41, 14.86}, Published{"r200", 118.83, 23.42},
                    Published{"tiny", 3.61, 0.114}, Published{"mbf", 2.06, 0.44},
                    Published{"ir_50", 43.59, 6.30}, Published{"ir_101", 65.15, 12.08},
                    // There is no reference embedding for it; only its size is known.
                    Published{"mbf_large", 6.31, 1.82}),
    [](const auto& test) { return test.param.name; });

class Initialisation : public testing::TestWithParam<std::string> {};

TEST_P(Initialisation, DependsOnTheSeedAlone) {
  torch::manual_seed(1);
  at::set_num_threads(1);
  const auto first = state_of(*make_backbone(GetParam(), 64, 7));
  torch::manual_seed(2);
  at::set_num_threads(2);
  const auto before = torch::rand({});
  torch::manual_seed(2);
  const auto second = state_of(*make_backbone(GetParam(), 64, 7));
  EXPECT_TRUE(torch::equal(torch::rand({}), before)) << "the process-wide generator moved";
  const auto other = state_of(*make_backbone(GetParam(), 64, 8));
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(torch::equal(first[i].second, second[i].second)) << first[i].first;
    if (first[i].second.dim() > 1) {
      EXPECT_FALSE(torch::equal(first[i].second, other[i].second)) << first[i].first;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Initialisation, testing::Values("tiny", "mbf", "vit_t"),
                         [](const auto& test) { return test.param; });

TEST(Initialisation, OfAnIResNetIsTheFieldsOne) {
  for (const auto& [name, tensor] : state_of(*make_backbone("tiny", kDim, 3))) {
    if (tensor.dim() == 4 && tensor.numel() > 1000) {
      EXPECT_NEAR(tensor.std().item<double>(), 0.1, 0.01) << name;
      EXPECT_NEAR(tensor.mean().item<double>(), 0, 0.01) << name;
    } else if (name.starts_with("fc.")) {
      const double bound = 1 / std::sqrt(128.0 * 7 * 7);
      EXPECT_LE(tensor.abs().max().item<double>(), bound * (1 + 1e-6)) << name;  // float32
      EXPECT_NEAR(tensor.std().item<double>(), bound / std::sqrt(3.0), 0.05 * bound) << name;
    } else if (name.ends_with("prelu.weight")) {
      EXPECT_TRUE((tensor == 0.25).all().item<bool>()) << name;
    } else if (name == "features.weight") {
      EXPECT_TRUE((tensor == 1).all().item<bool>());
      EXPECT_FALSE(tensor.requires_grad());
    }
  }
}

TEST(Initialisation, OfAMobileFaceNetIsKaimingsForItsOutputs) {
  for (const auto& [name, tensor] : state_of(*make_backbone("mbf", kDim, 3))) {
    if (tensor.dim() > 1) {
      const double fan_out = static_cast<double>(tensor.numel() / tensor.size(1));
      const double deviation = std::sqrt(2 / fan_out);
      const double tolerance = 4 * deviation / std::sqrt(static_cast<double>(tensor.numel()));
      EXPECT_NEAR(tensor.std().item<double>(), deviation, tolerance) << name;
      EXPECT_NEAR(tensor.mean().item<double>(), 0, tolerance) << name;
    } else if (is_prelu(name)) {
      EXPECT_TRUE((tensor == 0.25).all().item<bool>()) << name;
    }
  }
}

TEST(Backbone, EveryParameterGetsAGradientExceptTheFrozenOnes) {
  for (const std::string name : {"tiny", "mbf"}) {
    const auto backbone = make_backbone(name, 32, 1);
    const auto images = torch::randn({2, 3, 112, 112}).contiguous(at::MemoryFormat::ChannelsLast);
    backbone->forward(images).square().sum().backward();
    for (const auto& item : backbone->named_parameters()) {
      EXPECT_EQ(item.value().grad().defined(), item.key() != "features.weight") << item.key();
    }
  }
}

TEST(Backbone, AnUnknownNetworkIsToldTheKnownOnes) {
  EXPECT_THAT([] { make_backbone("r19", kDim, 0); },
              testing::Throws<Error>(testing::Property(
                  &Error::what,
                  testing::StartsWith(
                      "network 'r19' is unknown; the nearest known one is r18; known: r18 "
                      "r34 r50 r100 r124 r200 tiny "
                      "mbf mbf_large ir_18 ir_34 ir_50 ir_101 ir_50_evolve "
                      "ir_101_evolve ir_152_evolve vit_t vit_s vit_b vit_l vit_h vit_t_dp005_mask0 "
                      "vit_s_dp005_mask_0 vit_b_dp005_mask_005 vit_l_dp005_mask_005"))));
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
