#include "formats/onnx_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace pfc {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::Pointwise;

/// A graph of `data` -> `embedding` whose normalisations are called norm or last: scale 2 and 4,
/// shift −1 and 1 for two channels.
OnnxGraph graph_of(std::vector<OnnxGraph::Node> nodes) {
  OnnxGraph graph;
  graph.network = "net";
  graph.input = {"data", {2, 1, 1}};
  graph.output = {"embedding", {2}};
  graph.nodes = std::move(nodes);
  for (const std::string name : {"norm", "last"}) {
    graph.constants[name + ".weight"] = {{2}, {4, 12}};
    graph.constants[name + ".bias"] = {{2}, {1, 5}};
    graph.constants[name + ".running_mean"] = {{2}, {1, 1}};
    graph.constants[name + ".running_var"] = {{2}, {3.75, 8.75}};
  }
  return graph;
}

OnnxGraph::Node norm(const std::string& name, const std::string& from, const std::string& to) {
  return {.op = "BatchNormalization",
          .inputs = {from, name + ".weight", name + ".bias", name + ".running_mean",
                     name + ".running_var"},
          .output = to,
          .attributes = {{"epsilon", 0.25f}}};
}

std::vector<std::string> operators(const OnnxGraph& graph) {
  std::vector<std::string> all;
  for (const auto& node : graph.nodes) all.push_back(node.op);
  return all;
}

const std::vector<double>& values(const OnnxGraph& graph, const std::string& name) {
  return graph.constants.at(name).values;
}

TEST(FoldBatchNorms, ScalesTheConvolutionBeforeAndShiftsItsBias) {
  auto graph =
      graph_of({{.op = "Conv", .inputs = {"data", "conv.weight", "conv.bias"}, .output = "0"},
                norm("norm", "0", "embedding")});
  graph.constants["conv.weight"] = {{2, 2, 1, 1}, {1, 2, 3, 4}};
  graph.constants["conv.bias"] = {{2}, {10, 20}};
  fold_batch_norms(graph);
  EXPECT_THAT(operators(graph), ElementsAre("Conv"));
  EXPECT_EQ(graph.nodes[0].output, "embedding");
  EXPECT_EQ(graph.constants.size(), 2u);  // nothing is left of the normalisation
  EXPECT_THAT(values(graph, "conv.weight"), ElementsAre(2, 4, 12, 16));
  EXPECT_THAT(values(graph, "conv.bias"), ElementsAre(19, 81));
}

TEST(FoldBatchNorms, GivesALayerWithoutBiasTheNormalisations) {
  auto graph = graph_of({{.op = "Gemm", .inputs = {"data", "fc.weight"}, .output = "0"},
                         norm("norm", "0", "embedding")});
  graph.constants["fc.weight"] = {{2, 1}, {1, 2}};
  fold_batch_norms(graph);
  EXPECT_THAT(graph.nodes[0].inputs, ElementsAre("data", "fc.weight", "norm.bias"));
  EXPECT_THAT(values(graph, "norm.bias"), ElementsAre(-1, 1));
}

TEST(FoldBatchNorms, GoesThroughFlattenIntoTheLinearLayerBehind) {
  // Two pixels a channel; a normalisation on either side of the layer.
  auto graph = graph_of({norm("norm", "data", "0"),
                         {.op = "Flatten", .inputs = {"0"}, .output = "1"},
                         {.op = "Gemm", .inputs = {"1", "fc.weight", "fc.bias"}, .output = "2"},
                         norm("last", "2", "embedding")});
  graph.constants["fc.weight"] = {{2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}};
  graph.constants["fc.bias"] = {{2}, {0, 1}};
  fold_batch_norms(graph);
  EXPECT_THAT(operators(graph), ElementsAre("Flatten", "Gemm"));
  EXPECT_EQ(graph.nodes[0].inputs[0], "data");
  EXPECT_EQ(graph.nodes[1].output, "embedding");
  EXPECT_THAT(values(graph, "fc.weight"), ElementsAre(4, 8, 24, 32, 40, 48, 112, 128));
  // Bias 0 + (−1 − 2 + 3 + 4) and 1 + (−5 − 6 + 7 + 8), then the last one's scale and shift.
  EXPECT_THAT(values(graph, "fc.bias"), ElementsAre(7, 21));
}

TEST(FoldBatchNorms, LeavesOneBeforeAConvolution) {
  auto graph = graph_of({norm("norm", "data", "0"),
                         {.op = "Conv", .inputs = {"0", "conv.weight"}, .output = "embedding"}});
  graph.constants["conv.weight"] = {{2, 2, 1, 1}, {1, 2, 3, 4}};
  fold_batch_norms(graph);
  EXPECT_THAT(operators(graph), ElementsAre("BatchNormalization", "Conv"));
  EXPECT_THAT(values(graph, "conv.weight"), ElementsAre(1, 2, 3, 4));
}

TEST(FoldBatchNorms, ChangesNothingThatAnotherNodeTakes) {
  // First the convolution's output bypasses the normalisation; then its weight is shared.
  for (const std::string other : {"0", "data"}) {
    auto graph = graph_of({{.op = "Conv", .inputs = {"data", "conv.weight"}, .output = "0"},
                           norm("norm", "0", "1"),
                           {.op = "Conv", .inputs = {other, "conv.weight"}, .output = "2"},
                           {.op = "Add", .inputs = {"1", "2"}, .output = "embedding"}});
    graph.constants["conv.weight"] = {{2, 2, 1, 1}, {1, 2, 3, 4}};
    if (other == "0") {
      graph.constants["own.weight"] = graph.constants["conv.weight"];
      graph.nodes[2].inputs[1] = "own.weight";
    }
    fold_batch_norms(graph);
    EXPECT_THAT(operators(graph), ElementsAre("Conv", "BatchNormalization", "Conv", "Add"));
    EXPECT_THAT(values(graph, "conv.weight"), ElementsAre(1, 2, 3, 4));
  }
}

TEST(FoldBatchNorms, LeavesOneWhoseOutputGoesElsewhereToo) {
  auto graph = graph_of({norm("norm", "data", "0"),
                         {.op = "Gemm", .inputs = {"0", "fc.weight"}, .output = "1"},
                         {.op = "Add", .inputs = {"0", "1"}, .output = "embedding"}});
  graph.constants["fc.weight"] = {{2, 2}, {1, 2, 3, 4}};
  fold_batch_norms(graph);
  EXPECT_THAT(operators(graph), ElementsAre("BatchNormalization", "Gemm", "Add"));
}

TEST(NormalizeInput, ComesBeforeEverythingThatTakesTheImages) {
  auto graph = graph_of({{.op = "Relu", .inputs = {"data"}, .output = "0"},
                         {.op = "Add", .inputs = {"0", "data"}, .output = "embedding"}});
  normalize_input(graph);
  EXPECT_THAT(operators(graph), ElementsAre("Sub", "Mul", "Relu", "Add"));
  EXPECT_EQ(graph.nodes[2].inputs[0], graph.nodes[1].output);
  EXPECT_EQ(graph.nodes[3].inputs[1], graph.nodes[1].output);
  EXPECT_EQ(graph.nodes[0].inputs[0], "data");
}

}  // namespace
}  // namespace pfc
