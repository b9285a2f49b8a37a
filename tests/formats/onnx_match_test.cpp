#include "formats/onnx_match.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "formats/onnx_graph.h"

namespace pfc {
namespace {

using testing::DoubleNear;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pointwise;
using Ints = std::vector<std::int64_t>;
using Node = OnnxGraph::Node;

Node conv_node(const std::string& x, const std::string& output, Ints strides = {1, 1}) {
  return {.op = "Conv",
          .inputs = {x, "conv.weight"},
          .output = output,
          .attributes = {{"kernel_shape", Ints{1, 1}},
                         {"strides", std::move(strides)},
                         {"pads", Ints{0, 0, 0, 0}},
                         {"dilations", Ints{1, 1}},
                         {"group", std::int64_t{1}}},
          .name = "Conv_1"};
}

Node norm_node(const std::string& module, const std::string& x, const std::string& output) {
  return {.op = "BatchNormalization",
          .inputs = {x, module + ".weight", module + ".bias", module + ".running_mean",
                     module + ".running_var"},
          .output = output,
          .attributes = {{"epsilon", 1e-5f}},
          .name = module};
}

/// norm0, a convolution, norm1, PReLU, the sum with the input, a linear layer, norm2: with values,
/// as a file may have it.
OnnxGraph whole_graph() {
  OnnxGraph graph;
  graph.network = "small";
  graph.input = {"data", {3, 1, 1}};
  graph.output = {"embedding", {2}};
  graph.nodes = {
      norm_node("norm0", "data", "0"),
      conv_node("0", "1"),
      norm_node("norm1", "1", "2"),
      {.op = "PRelu", .inputs = {"2", "slope"}, .output = "3", .name = "PRelu_3"},
      {.op = "Add", .inputs = {"3", "data"}, .output = "4", .name = "Add_4"},
      {.op = "Flatten",
       .inputs = {"4"},
       .output = "5",
       .attributes = {{"axis", std::int64_t{1}}},
       .name = "Flatten_5"},
      {.op = "Gemm",
       .inputs = {"5", "fc.weight"},
       .output = "6",
       .attributes = {{"transB", std::int64_t{1}}},
       .name = "Gemm_6"},
      norm_node("norm2", "6", "embedding"),
  };
  graph.constants["conv.weight"] = {{3, 3, 1, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  graph.constants["slope"] = {{3}, {0.25, 0.5, 0.75}};
  graph.constants["fc.weight"] = {{2, 3}, {1, 2, 3, 4, 5, 6}};
  for (const std::string norm : {"norm0", "norm1", "norm2"}) {
    const std::int64_t channels = norm == "norm2" ? 2 : 3;
    double value = 1;
    for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) {
      auto& values = graph.constants[norm + part];
      values.shape = {channels};
      for (std::int64_t c = 0; c < channels; ++c) values.values.push_back(value++);
    }
  }
  return graph;
}

OnnxGraph network() {
  OnnxGraph graph = whole_graph();
  for (auto& [name, constant] : graph.constants) constant.values.clear();
  return graph;
}

/// The network with the constants that were found.
OnnxGraph filled(const OnnxMatch& match) {
  OnnxGraph graph = whole_graph();
  for (auto& [name, constant] : graph.constants) {
    const auto found = match.constants.find(name);
    EXPECT_NE(found, match.constants.end()) << name;
    if (found != match.constants.end()) constant = *found->second;
  }
  return graph;
}

void expect_other(const OnnxGraph& file, const std::string& place, const std::string& problem) {
  const OnnxMatch match = match_onnx(file, network());
  EXPECT_THAT(match.place, HasSubstr(place));
  EXPECT_THAT(match.problem, HasSubstr(problem));
}

TEST(OnnxMatch, FindsEachConstantUnderTheNetworksName) {
  OnnxGraph file = whole_graph();
  std::swap(file.nodes[4].inputs[0], file.nodes[4].inputs[1]);  // a sum has no order
  const OnnxMatch match = match_onnx(file, network());
  ASSERT_TRUE(match.is_whole()) << match.place << match.problem;
  for (const auto& [name, constant] : whole_graph().constants)
    EXPECT_EQ(match.constants.at(name)->values, constant.values) << name;
}

TEST(OnnxMatch, OfAFoldedFileTheNetworkComputesTheSame) {
  OnnxGraph file = whole_graph();
  fold_batch_norms(file);
  ASSERT_EQ(file.nodes.size(), 6u);  // only the first one stays
  const OnnxMatch match = match_onnx(file, network());
  ASSERT_TRUE(match.is_whole()) << match.place << match.problem;
  EXPECT_THAT(match.constants.at("norm1.weight")->values, ElementsAre(1, 1, 1));
  OnnxGraph again = filled(match);
  fold_batch_norms(again);
  for (const std::string name : {"conv.weight", "norm1.bias", "fc.weight", "norm2.bias"}) {
    EXPECT_THAT(again.constants.at(name).values,
                Pointwise(DoubleNear(1e-9), file.constants.at(name).values))
        << name;
  }
}

TEST(OnnxMatch, AFoldedNormalisationDividesByExactlyOneInFloat32) {
  OnnxGraph file = whole_graph();
  fold_batch_norms(file);
  const OnnxMatch match = match_onnx(file, network());
  const auto variance = static_cast<float>(match.constants.at("norm1.running_var")->values[0]);
  EXPECT_EQ(1 / std::sqrt(variance + 1e-5f), 1.0f);
  EXPECT_EQ(static_cast<float>(1 / std::sqrt(static_cast<double>(variance) + 1e-5)), 1.0f);
}

TEST(OnnxMatch, ABiasBeforeANormalisationMovesItsMeanAndAnotherEpsilonItsVariance) {
  OnnxGraph file = whole_graph();
  file.nodes[1].inputs.push_back("conv.bias");
  file.constants["conv.bias"] = {{3}, {10, 20, 30}};
  file.nodes[2].attributes["epsilon"] = 2e-5f;
  const OnnxMatch match = match_onnx(file, network());
  ASSERT_TRUE(match.is_whole()) << match.place << match.problem;
  EXPECT_THAT(match.constants.at("norm1.running_mean")->values,
              ElementsAre(7 - 10, 8 - 20, 9 - 30));
  EXPECT_NEAR(match.constants.at("norm1.running_var")->values[0], 10 + 1e-5, 1e-9);
}

struct Behind {
  std::string problem;
  std::vector<double> weight;  ///< of the convolution
};

/// Puts x·scale + shift before the network, of which only the convolution takes the input then.
Behind match_behind(std::vector<std::pair<std::string, std::vector<double>>> maps) {
  const auto without_norm = [](OnnxGraph graph) {
    graph.nodes.erase(graph.nodes.begin());
    graph.nodes[0].inputs[0] = "data";
    graph.nodes[3].inputs[1] = "2";
    return graph;
  };
  OnnxGraph file = without_norm(whole_graph());
  std::string x = "pixels";
  std::vector<Node> nodes;
  for (auto& [op, values] : maps) {
    const std::string name = "map" + std::to_string(nodes.size());
    file.constants[name] = {{std::ssize(values), 1, 1}, values};
    nodes.push_back({.op = op, .inputs = {x, name}, .output = name + "'", .name = name});
    x = name + "'";
  }
  file.input.name = "pixels";
  for (Node& node : file.nodes) std::ranges::replace(node.inputs, "data", x);
  file.nodes.insert(file.nodes.begin(), nodes.begin(), nodes.end());
  const OnnxGraph to = without_norm(network());
  const OnnxMatch match = match_onnx(file, to);
  if (!match.is_whole()) return {match.place + ": " + match.problem, {}};
  return {"", match.constants.at("conv.weight")->values};
}

TEST(OnnxMatch, APixelNormalisationGoesIntoTheFirstConvolution) {
  const std::vector<double> weight = whole_graph().constants.at("conv.weight").values;
  // (x − 127.5) / 127.5 in several ways, of pixels up to 255 and up to 1.
  for (const auto& maps : {std::vector<std::pair<std::string, std::vector<double>>>{
                               {"Sub", {127.5}}, {"Mul", {1 / 127.5}}},
                           {{"Sub", {127.5, 127.5, 127.5}}, {"Div", {127.5}}},
                           {{"Div", {255}}, {"Sub", {0.5}}, {"Div", {0.5}}},
                           {{"Mul", {static_cast<float>(1 / 127.5)}}, {"Add", {-1}}},
                           {{"Sub", {0.5}}, {"Div", {0.5}}}}) {
    const Behind found = match_behind(maps);
    EXPECT_EQ(found.problem, "");
    EXPECT_EQ(found.weight, weight);
  }
  const Behind other = match_behind({{"Sub", {127.5}}, {"Mul", {0.0078125}}});
  ASSERT_EQ(other.problem, "");
  EXPECT_DOUBLE_EQ(other.weight[8], 9 * 127.5 / 128);
  const Behind channels = match_behind({{"Sub", {127.5}}, {"Mul", {2 / 255., 4 / 255., 6 / 255.}}});
  EXPECT_THAT(channels.weight, Pointwise(DoubleNear(1e-9), {1, 4, 9, 4, 10, 18, 7, 16, 27}));
}

TEST(OnnxMatch, AShiftOfThePixelsThatThePaddingWouldNotGetIsRefused) {
  EXPECT_THAT(
      match_behind({{"Sub", {127}}, {"Mul", {1 / 128.}}}).problem,
      HasSubstr("node 'map1' (Mul): the input becomes 0 at pixel 127.000000 where ours does "
                "at 127.5"));
}

TEST(OnnxMatch, NamesTheFirstNodeThatIsAnother) {
  OnnxGraph file = whole_graph();
  file.nodes[1] = conv_node("0", "1", {2, 2});
  expect_other(file, "node 'Conv_1' (Conv)", "strides [2, 2], small has [1, 1]");
  EXPECT_EQ(match_onnx(file, network()).nodes, 1);

  file = whole_graph();
  file.nodes[3].op = "Relu";
  expect_other(file, "node 'PRelu_3' (Relu)", "small has a PRelu at this place");

  file = whole_graph();
  file.constants["fc.weight"] = {{2, 4}, std::vector<double>(8)};
  expect_other(file, "node 'Gemm_6' (Gemm)", "a weight of shape [2, 4], small has [2, 3]");

  file = whole_graph();
  file.nodes[4].inputs = {"3", "3"};
  expect_other(file, "node 'Add_4' (Add)", "it takes another tensor");

  file = whole_graph();
  file.nodes.erase(file.nodes.begin());
  file.nodes[0].inputs[0] = "data";
  expect_other(file, "node 'Conv_1' (Conv)", "small has a BatchNormalization at this place");

  file = whole_graph();
  file.output.name = "unit";
  file.nodes.push_back({.op = "Relu", .inputs = {"embedding"}, .output = "unit", .name = "Relu_8"});
  expect_other(file, "node 'Relu_8' (Relu)", "small ends before it");

  file = whole_graph();
  file.input.shape = {3, 2, 2};
  expect_other(file, "input 'data'", "images of [3, 2, 2], small has [3, 1, 1]");
}

}  // namespace
}  // namespace pfc
