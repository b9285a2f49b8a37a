#include "export/onnx_trace.h"

#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/evaluation_mode.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/image_codec.h"  // for kFaceSize

namespace pfc {
namespace {

namespace jit = torch::jit;

/// The number of traced images: an extent with another value does not depend on the batch.
constexpr std::int64_t kBatch = 2;

using Ints = std::vector<std::int64_t>;

class Translator {
 public:
  /// `state` [i] is input 1 + i of `traced`; input 0 holds the images.
  Translator(const jit::Graph& traced,
             const std::vector<std::pair<std::string, torch::Tensor>>& state, std::string network)
      : traced_(traced) {
    graph_.network = std::move(network);
    graph_.input = {"data", {3, kFaceSize, kFaceSize}};
    names_[traced.inputs()[0]] = graph_.input.name;
    for (std::size_t i = 0; i < state.size(); ++i) state_[traced.inputs()[i + 1]] = &state[i];
  }

  OnnxGraph translate() {
    for (const jit::Node* node : traced_.nodes()) {
      // Constants, and lists of them, are read where they are used.
      if (!node->kind().is_prim()) translate(*node);
    }
    const jit::Value* const output = traced_.outputs()[0];
    const Ints sizes = sizes_of(output);
    if (sizes.size() != 2 || sizes[0] != kBatch || graph_.nodes.empty()) {
      throw Error(graph_.network + ": its forward gives a tensor of " +
                  counted(sizes.size(), "dimension") + ", want [b, embedding_size]");
    }
    graph_.output = {"embedding", {sizes[1]}};
    for (auto& node : graph_.nodes) {
      if (node.output == names_.at(output)) node.output = graph_.output.name;
      std::ranges::replace(node.inputs, names_.at(output), graph_.output.name);
    }
    return std::move(graph_);
  }

 private:
  void translate(const jit::Node& node) {
    using Rule = void (Translator::*)(const jit::Node&);
    static const std::unordered_map<std::string, Rule> rules = {
        {"aten::_convolution", &Translator::convolution},
        {"aten::adaptive_avg_pool2d", &Translator::average_pool},
        {"aten::add", &Translator::sum},
        {"aten::addmm", &Translator::add_product},
        {"aten::batch_norm", &Translator::batch_norm},
        {"aten::dropout", &Translator::dropout},
        {"aten::feature_dropout", &Translator::dropout},
        {"aten::flatten", &Translator::flatten},
        {"aten::linear", &Translator::linear},
        {"aten::matmul", &Translator::matrix_product},
        {"aten::max_pool2d", &Translator::max_pool},
        {"aten::mul", &Translator::product},
        {"aten::prelu", &Translator::prelu},
        {"aten::relu", &Translator::relu},
        {"aten::reshape", &Translator::flatten},
        {"aten::sigmoid", &Translator::sigmoid},
        {"aten::t", &Translator::transpose},
    };
    const auto rule = rules.find(node.kind().toQualString());
    if (rule == rules.end()) refuse(node);
    std::invoke(rule->second, this, node);
  }

  [[noreturn]] void refuse(const jit::Node& node) const {
    throw Error(
        graph_.network +
        " cannot be exported: convolutional networks are (iResNets, MobileFaceNets), transformers "
        "are not; its operator " +
        node.kind().toQualString() + ", as it is called, has no ONNX form here");
  }
  void want(bool condition, const jit::Node& node) const {
    if (!condition) refuse(node);
  }

  // aten::_convolution(x, weight, bias?, stride, padding, dilation, transposed, output_padding,
  // groups, …)
  void convolution(const jit::Node& node) {
    const Ints weight = sizes_of(node.inputs()[1]);
    want(weight.size() == 4 && !constant<bool>(node, 6), node);
    std::vector<std::string> inputs = {tensor(node, 0), parameter(node, 1)};
    if (!is_none(node, 2)) inputs.push_back(parameter(node, 2));
    emit(node, "Conv", std::move(inputs),
         {{"kernel_shape", Ints{weight[2], weight[3]}},
          {"strides", pair(node, 3)},
          {"pads", both_sides(pair(node, 4))},
          {"dilations", pair(node, 5)},
          {"group", constant<std::int64_t>(node, 8)}});
  }

  // aten::batch_norm(x, weight?, bias?, mean?, variance?, training, momentum, epsilon, …)
  void batch_norm(const jit::Node& node) {
    want(!constant<bool>(node, 5), node);
    emit(node, "BatchNormalization",
         {tensor(node, 0), parameter(node, 1), parameter(node, 2), parameter(node, 3),
          parameter(node, 4)},
         {{"epsilon", static_cast<float>(constant<double>(node, 7))}});
  }

  // aten::prelu(x, slope)
  void prelu(const jit::Node& node) {
    // ONNX aligns shapes at their ends: a slope for each channel is [channels, 1, 1].
    const std::string slope = parameter(node, 1);
    Ints& shape = graph_.constants.at(slope).shape;
    shape.resize(sizes_of(node.inputs()[0]).size() - 1, 1);
    emit(node, "PRelu", {tensor(node, 0), slope});
  }

  // aten::linear(x, weight, bias?)
  void linear(const jit::Node& node) {
    std::vector<std::string> inputs = {tensor(node, 0), parameter(node, 1)};
    if (!is_none(node, 2)) inputs.push_back(parameter(node, 2));
    gemm(node, std::move(inputs));
  }

  // torch::nn::Linear does not call aten::linear: it transposes its weight, then multiplies.

  void transpose(const jit::Node& node) { transposes_[node.outputs()[0]] = &node; }

  // aten::addmm(bias, x, weight transposed, beta, alpha)
  void add_product(const jit::Node& node) {
    want(is_one(node, 3) && is_one(node, 4), node);
    gemm(node, {tensor(node, 1), transposed(node, 2), parameter(node, 0)});
  }

  // aten::matmul(x, weight transposed)
  void matrix_product(const jit::Node& node) { gemm(node, {tensor(node, 0), transposed(node, 1)}); }

  void gemm(const jit::Node& node, std::vector<std::string> inputs) {
    want(sizes_of(node.outputs()[0]).size() == 2, node);
    emit(node, "Gemm", std::move(inputs), {{"transB", std::int64_t{1}}});
  }

  // aten::add(x, y, alpha)
  void sum(const jit::Node& node) {
    want(is_one(node, 2), node);
    emit(node, "Add", {tensor(node, 0), tensor(node, 1)});
  }

  // aten::mul(x, y)
  void product(const jit::Node& node) { emit(node, "Mul", {tensor(node, 0), tensor(node, 1)}); }

  void relu(const jit::Node& node) { emit(node, "Relu", {tensor(node, 0)}); }
  void sigmoid(const jit::Node& node) { emit(node, "Sigmoid", {tensor(node, 0)}); }

  // aten::dropout(x, rate, training)
  void dropout(const jit::Node& node) {
    want(!constant<bool>(node, 2), node);
    names_[node.outputs()[0]] = tensor(node, 0);
  }

  /// flatten and reshape, if they turn an image into one row.
  void flatten(const jit::Node& node) {
    const Ints from = sizes_of(node.inputs()[0]), to = sizes_of(node.outputs()[0]);
    want(to.size() == 2 && from[0] == kBatch && to[0] == kBatch, node);
    emit(node, "Flatten", {tensor(node, 0)}, {{"axis", std::int64_t{1}}});
  }

  // aten::max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
  void max_pool(const jit::Node& node) {
    want(!constant<bool>(node, 5), node);
    emit(node, "MaxPool", {tensor(node, 0)},
         {{"kernel_shape", pair(node, 1)},
          {"strides", pair(node, 2)},
          {"pads", both_sides(pair(node, 3))},
          {"dilations", pair(node, 4)}});
  }

  // aten::adaptive_avg_pool2d(x, size)
  void average_pool(const jit::Node& node) {
    want(pair(node, 1) == Ints{1, 1}, node);
    emit(node, "GlobalAveragePool", {tensor(node, 0)});
  }

  void emit(const jit::Node& node, const char* op, std::vector<std::string> inputs,
            std::map<std::string, OnnxGraph::Attribute> attributes = {}) {
    std::string output = std::to_string(graph_.nodes.size());
    names_[node.outputs()[0]] = output;
    graph_.nodes.push_back({op, std::move(inputs), std::move(output), std::move(attributes)});
  }

  /// The name of a tensor that was computed, otherwise of a parameter.
  std::string tensor(const jit::Node& node, std::size_t input) {
    const auto computed = names_.find(node.inputs()[input]);
    return computed != names_.end() ? computed->second : parameter(node, input);
  }

  /// The name of a parameter or buffer, which becomes a constant of the graph.
  std::string parameter(const jit::Node& node, std::size_t input) {
    const auto found = state_.find(node.inputs()[input]);
    want(found != state_.end(), node);
    const auto& [name, value] = *found->second;
    if (graph_.constants.contains(name)) return name;
    const auto values = value.detach().to(torch::kCPU, torch::kFloat64).contiguous();
    const auto* first = values.const_data_ptr<double>();
    graph_.constants[name] = {value.sizes().vec(), {first, first + values.numel()}};
    return name;
  }

  /// The name of the parameter whose transpose an input is.
  std::string transposed(const jit::Node& node, std::size_t input) {
    const auto found = transposes_.find(node.inputs()[input]);
    want(found != transposes_.end(), node);
    return parameter(*found->second, 0);
  }

  static bool is_one(const jit::Node& node, std::size_t input) {
    const auto value = jit::toIValue(node.inputs()[input]);
    return value && value->isScalar() && value->toScalar().equal(1);
  }

  static bool is_none(const jit::Node& node, std::size_t input) {
    const auto value = jit::toIValue(node.inputs()[input]);
    return value && value->isNone();
  }

  template <class T>
  T constant(const jit::Node& node, std::size_t input) const {
    const auto value = jit::constant_as<T>(node.inputs()[input]);
    want(value.has_value(), node);
    return *value;
  }

  /// A list of integers for height and width; one stands for both.
  Ints pair(const jit::Node& node, std::size_t input) const {
    const jit::Node& list = *node.inputs()[input]->node();
    Ints values;
    for (std::size_t i = 0; i < list.inputs().size(); ++i) {
      values.push_back(constant<std::int64_t>(list, i));
    }
    if (values.size() == 1) values.push_back(values[0]);
    want(values.size() == 2, node);
    return values;
  }

  static Ints both_sides(const Ints& padding) {
    return {padding[0], padding[1], padding[0], padding[1]};
  }

  static Ints sizes_of(const jit::Value* value) {
    return value->type()->expectRef<c10::TensorType>().sizes().concrete_sizes().value();
  }

  const jit::Graph& traced_;
  OnnxGraph graph_;
  std::unordered_map<const jit::Value*, std::string> names_;  ///< of what was computed
  std::unordered_map<const jit::Value*, const std::pair<std::string, torch::Tensor>*> state_;
  std::unordered_map<const jit::Value*, const jit::Node*> transposes_;
};

}  // namespace

OnnxGraph trace_onnx(Backbone& backbone) {
  const EvaluationMode evaluation(backbone);
  const torch::NoGradGuard no_grad;
  // Parameters are inputs of the tracer, so that it says which of them an operator uses.
  std::vector<std::pair<std::string, torch::Tensor>> state;
  for (const auto& item : backbone.named_parameters()) state.emplace_back(item.pair());
  for (const auto& item : backbone.named_buffers()) state.emplace_back(item.pair());
  jit::Stack inputs = {torch::zeros({kBatch, 3, kFaceSize, kFaceSize})};
  for (const auto& [name, tensor] : state) inputs.emplace_back(tensor);
  const auto traced = jit::tracer::trace(
      std::move(inputs),
      [&](jit::Stack arguments) { return jit::Stack{backbone.forward(arguments[0].toTensor())}; },
      /*var_name_lookup_fn=*/[](const torch::Tensor&) { return std::string(); },
      /*strict=*/true, /*force_outplace=*/true);
  return Translator(*traced.first->graph, state, backbone.title()).translate();
}

}  // namespace pfc
