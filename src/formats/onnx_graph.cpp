#include "formats/onnx_graph.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "formats/float16.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using Node = OnnxGraph::Node;
using Constant = OnnxGraph::Constant;

constexpr std::size_t kWeight = 1, kBias = 2;  // inputs of Conv and Gemm

/// y = scale·x + shift for each channel: all that a batch normalisation is in evaluation.
struct Affine {
  std::vector<double> scale, shift;
};

Affine affine_of(const OnnxGraph& graph, const Node& norm) {
  const auto values = [&](std::size_t input) -> const std::vector<double>& {
    return graph.constants.at(norm.inputs[input]).values;
  };
  const auto &gamma = values(1), &beta = values(2), &mean = values(3), &variance = values(4);
  const double epsilon = std::get<float>(norm.attributes.at("epsilon"));
  Affine affine;
  for (std::size_t c = 0; c < gamma.size(); ++c) {
    affine.scale.push_back(gamma[c] / std::sqrt(variance[c] + epsilon));
    affine.shift.push_back(beta[c] - mean[c] * affine.scale[c]);
  }
  return affine;
}

Node* producer(OnnxGraph& graph, const std::string& tensor) {
  const auto found = std::ranges::find(graph.nodes, tensor, &Node::output);
  return found == graph.nodes.end() ? nullptr : &*found;
}

/// The only node that uses `tensor`, or null if there are more.
Node* only_consumer(OnnxGraph& graph, const std::string& tensor) {
  if (uses(graph, tensor) != 1) return nullptr;
  const auto found = std::ranges::find_if(graph.nodes, [&](const Node& node) {
    return std::ranges::find(node.inputs, tensor) != node.inputs.end();
  });
  return found == graph.nodes.end() ? nullptr : &*found;
}

/// Whether no other node uses the constants that folding into `node` changes.
bool may_change(const OnnxGraph& graph, const Node& node, const Node& norm) {
  const auto is_its_own = [&](const std::string& name) {
    return graph.constants.contains(name) && uses(graph, name) == 1;
  };
  return is_its_own(node.inputs[kWeight]) &&
         is_its_own(node.inputs.size() > kBias ? node.inputs[kBias] : norm.inputs[kBias]);
}

/// The bias of `node`; if it has none, it gets one of zeros.
std::vector<double>& bias_of(OnnxGraph& graph, Node& node, const Node& norm) {
  if (node.inputs.size() > kBias) return graph.constants.at(node.inputs[kBias]).values;
  node.inputs.push_back(norm.inputs[kBias]);
  const std::int64_t outputs = graph.constants.at(node.inputs[kWeight]).shape[0];
  Constant& bias = graph.constants.at(node.inputs[kBias]);
  bias = {{outputs}, std::vector<double>(static_cast<std::size_t>(outputs))};
  return bias.values;
}

/// Row `o` of a weight computes output `o`.
std::span<double> row_of(Constant& weight, std::size_t o) {
  const std::size_t size = weight.values.size() / static_cast<std::size_t>(weight.shape[0]);
  return std::span(weight.values).subspan(o * size, size);
}

bool fold_into_producer(OnnxGraph& graph, const Node& norm) {
  Node* const node = producer(graph, norm.inputs[0]);
  if (node == nullptr || (node->op != "Conv" && node->op != "Gemm") ||
      uses(graph, node->output) != 1 || !may_change(graph, *node, norm)) {
    return false;
  }
  const Affine affine = affine_of(graph, norm);
  Constant& weight = graph.constants.at(node->inputs[kWeight]);
  std::vector<double>& bias = bias_of(graph, *node, norm);
  for (std::size_t o = 0; o < bias.size(); ++o) {
    for (double& w : row_of(weight, o)) w *= affine.scale[o];
    bias[o] = bias[o] * affine.scale[o] + affine.shift[o];
  }
  node->output = norm.output;
  return true;
}

bool fold_into_consumer(OnnxGraph& graph, const Node& norm) {
  Node* const first = only_consumer(graph, norm.output);
  Node* const node =
      first != nullptr && first->op == "Flatten" ? only_consumer(graph, first->output) : first;
  if (node == nullptr || node->op != "Gemm" || !may_change(graph, *node, norm)) return false;
  const Affine affine = affine_of(graph, norm);
  Constant& weight = graph.constants.at(node->inputs[kWeight]);
  std::vector<double>& bias = bias_of(graph, *node, norm);
  for (std::size_t o = 0; o < bias.size(); ++o) {
    const auto row = row_of(weight, o);
    const std::size_t pixels = row.size() / affine.scale.size();  // in a channel
    for (std::size_t i = 0; i < row.size(); ++i) {
      bias[o] += row[i] * affine.shift[i / pixels];
      row[i] *= affine.scale[i / pixels];
    }
  }
  first->inputs[0] = norm.inputs[0];
  return true;
}

void fold_where(OnnxGraph& graph, bool (*fold)(OnnxGraph& graph, const Node& norm)) {
  for (std::size_t i = 0; i < graph.nodes.size();) {
    if (graph.nodes[i].op == "BatchNormalization" && fold(graph, graph.nodes[i])) {
      graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

}  // namespace

std::int64_t uses(const OnnxGraph& graph, const std::string& tensor) {
  std::int64_t count = graph.output.name == tensor ? 1 : 0;
  for (const Node& node : graph.nodes) count += std::ranges::count(node.inputs, tensor);
  return count;
}

void fold_batch_norms(OnnxGraph& graph) {
  fold_where(graph, fold_into_producer);
  fold_where(graph, fold_into_consumer);
  std::erase_if(graph.constants, [&](const auto& item) { return uses(graph, item.first) == 0; });
}

namespace {

/// The nodes that took the graph's input take `to`.
void rename_input(OnnxGraph& graph, const std::string& to) {
  for (Node& node : graph.nodes) std::ranges::replace(node.inputs, graph.input.name, to);
}

/// The tensor that was the graph's output is `to`.
void rename_output(OnnxGraph& graph, const std::string& to) {
  for (Node& node : graph.nodes) {
    std::ranges::replace(node.inputs, graph.output.name, to);
    if (node.output == graph.output.name) node.output = to;
  }
}

// Types of tensors by ONNX's numbers.
constexpr std::int64_t kOnnxFloat32 = 1, kOnnxFloat16 = 10;

}  // namespace

void normalize_output(OnnxGraph& graph) {
  const std::string embedding = "embedding_of_any_length", length = "length";
  rename_output(graph, embedding);
  graph.nodes.push_back(
      {.op = "ReduceL2",
       .inputs = {embedding},
       .output = length,
       .attributes = {{"axes", std::vector<std::int64_t>{1}}, {"keepdims", std::int64_t{1}}}});
  graph.nodes.push_back({.op = "Div", .inputs = {embedding, length}, .output = graph.output.name});
}

void use_float16(OnnxGraph& graph) {
  for (Node& norm : graph.nodes) {
    if (norm.op != "BatchNormalization") continue;
    const Affine affine = affine_of(graph, norm);
    const std::size_t channels = affine.scale.size();
    const std::vector<double> values[] = {affine.scale, affine.shift,
                                          std::vector<double>(channels, 0),
                                          std::vector<double>(channels, 1)};
    for (std::size_t i = 0; i < std::size(values); ++i)
      graph.constants.at(norm.inputs[i + 1]).values = values[i];
    norm.attributes["epsilon"] = 0.0f;
  }
  for (auto& [name, constant] : graph.constants) {
    if (constant.type != OnnxGraph::Type::kFloat32) continue;
    for (const double value : constant.values) {
      if (std::isinf(from_float16(to_float16(value))) && std::isfinite(value))
        throw Error(graph.network + ": '" + name + "' has a value of " + std::to_string(value) +
                    ", and float16 ends at 65504");
    }
    constant.type = OnnxGraph::Type::kFloat16;
  }
  const std::string input = "half_" + graph.input.name, output = "half_" + graph.output.name;
  rename_input(graph, input);
  rename_output(graph, output);
  graph.nodes.insert(graph.nodes.begin(), {.op = "Cast",
                                           .inputs = {graph.input.name},
                                           .output = input,
                                           .attributes = {{"to", kOnnxFloat16}}});
  graph.nodes.push_back({.op = "Cast",
                         .inputs = {output},
                         .output = graph.output.name,
                         .attributes = {{"to", kOnnxFloat32}}});
}

void normalize_input(OnnxGraph& graph) {
  const std::string centred = "centred", normalized = "normalized";
  rename_input(graph, normalized);
  graph.nodes.insert(graph.nodes.begin(),
                     {{.op = "Sub", .inputs = {graph.input.name, "pixel_mean"}, .output = centred},
                      {.op = "Mul", .inputs = {centred, "pixel_scale"}, .output = normalized}});
  graph.constants["pixel_mean"] = {{}, {127.5}};
  graph.constants["pixel_scale"] = {{}, {1 / 127.5}};
}

}  // namespace pfc
