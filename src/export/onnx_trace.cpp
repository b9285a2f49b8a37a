#include "export/onnx_trace.h"

#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>
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
    // Matrices of which only the transpose is used.
    std::erase_if(graph_.constants,
                  [&](const auto& item) { return uses(graph_, item.first) == 0; });
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
        {"aten::div", &Translator::quotient},
        {"aten::gelu", &Translator::gelu},
        {"aten::hardtanh", &Translator::clip},
        {"aten::layer_norm", &Translator::layer_norm},
        {"aten::permute", &Translator::permute},
        {"aten::relu6", &Translator::relu6},
        {"aten::scaled_dot_product_attention", &Translator::attention},
        {"aten::select", &Translator::select},
        {"aten::softmax", &Translator::softmax},
        {"aten::transpose", &Translator::swap_axes},
        {"aten::unbind", &Translator::unbind},
        {"aten::unflatten", &Translator::reshape},
        {"aten::view", &Translator::reshape},
        {"aten::addmm", &Translator::add_product},
        {"aten::batch_norm", &Translator::batch_norm},
        {"aten::dropout", &Translator::dropout},
        {"aten::feature_dropout", &Translator::dropout},
        {"aten::flatten", &Translator::reshape},
        {"aten::linear", &Translator::linear},
        {"aten::matmul", &Translator::matrix_product},
        {"aten::max_pool2d", &Translator::max_pool},
        {"aten::mul", &Translator::product},
        {"aten::prelu", &Translator::prelu},
        {"aten::relu", &Translator::relu},
        {"aten::reshape", &Translator::reshape},
        {"aten::sigmoid", &Translator::sigmoid},
        {"aten::t", &Translator::transpose},
    };
    const auto rule = rules.find(node.kind().toQualString());
    if (rule == rules.end()) refuse(node);
    std::invoke(rule->second, this, node);
  }

  [[noreturn]] void refuse(const jit::Node& node) const {
    throw Error(graph_.network + " cannot be exported: its operator " + node.kind().toQualString() +
                ", as it is called, has no ONNX form here");
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
    const std::string mean = parameter(node, 3);
    const auto given = [&](std::size_t input, double usual) {
      if (!is_none(node, input)) return parameter(node, input);
      const Ints shape = graph_.constants.at(mean).shape;
      std::string name = mean + (usual == 1 ? ".weight" : ".bias");
      graph_.constants[name] = {shape,
                                std::vector<double>(static_cast<std::size_t>(shape[0]), usual)};
      return name;
    };
    emit(node, "BatchNormalization",
         {tensor(node, 0), given(1, 1), given(2, 0), mean, parameter(node, 4)},
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

  // aten::matmul(x, y), where y may be a weight transposed
  void matrix_product(const jit::Node& node) {
    if (transposes_.contains(node.inputs()[1]))
      return gemm(node, {tensor(node, 0), transposed(node, 1)});
    emit(node, "MatMul", {tensor(node, 0), tensor(node, 1)});
  }

  /// x·Wᵀ (+ b) for rows, and for tokens, of which an image has several.
  void gemm(const jit::Node& node, std::vector<std::string> inputs) {
    if (sizes_of(node.outputs()[0]).size() == 2)
      return emit(node, "Gemm", std::move(inputs), {{"transB", std::int64_t{1}}});
    const std::string weight = turned(inputs[1]);
    if (inputs.size() == 2) return emit(node, "MatMul", {inputs[0], weight});
    emit(node, "Add", {between("MatMul", {inputs[0], weight}), inputs[2]});
  }

  /// The name of the transpose of a matrix among the constants.
  std::string turned(const std::string& name) {
    std::string result = name + ".transposed";
    const OnnxGraph::Constant& matrix = graph_.constants.at(name);
    OnnxGraph::Constant& to = graph_.constants[result];
    if (!to.values.empty()) return result;
    const auto rows = static_cast<std::size_t>(matrix.shape[0]);
    const auto columns = static_cast<std::size_t>(matrix.shape[1]);
    to.shape = {matrix.shape[1], matrix.shape[0]};
    to.values.resize(rows * columns);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < columns; ++c)
        to.values[c * rows + r] = matrix.values[r * columns + c];
    }
    // A large transformer need not be in memory twice.
    if (uses(graph_, name) == 0) graph_.constants.erase(name);
    return result;
  }

  // aten::add(x, y, alpha)
  void sum(const jit::Node& node) {
    want(is_one(node, 2), node);
    emit(node, "Add", {operand(node, 0), operand(node, 1)});
  }

  // aten::mul(x, y), aten::div(x, y)
  void product(const jit::Node& node) { emit(node, "Mul", {operand(node, 0), operand(node, 1)}); }
  void quotient(const jit::Node& node) {
    want(node.inputs().size() == 2, node);  // not rounded
    emit(node, "Div", {operand(node, 0), operand(node, 1)});
  }

  void relu6(const jit::Node& node) { emit_clip(node, 0, 6); }
  // aten::hardtanh(x, least, largest)
  void clip(const jit::Node& node) { emit_clip(node, number(node, 1), number(node, 2)); }
  void emit_clip(const jit::Node& node, double least, double largest) {
    emit(node, "Clip", {tensor(node, 0), scalar(least), scalar(largest)});
  }

  // aten::gelu(x, approximate): x·Φ(x)
  void gelu(const jit::Node& node) {
    const auto approximation = jit::constant_as<std::string>(node.inputs()[1]);
    want(approximation == "none", node);
    const std::string x = tensor(node, 0);
    const std::string erf = between("Erf", {between("Mul", {x, scalar(1 / std::numbers::sqrt2)})});
    const std::string twice = between("Add", {erf, scalar(1)});
    emit(node, "Mul", {between("Mul", {x, twice}), scalar(0.5)});
  }

  // aten::layer_norm(x, shape, weight, bias, epsilon, …)
  void layer_norm(const jit::Node& node) {
    want(list(node, 1).size() == 1 && !is_none(node, 2) && !is_none(node, 3), node);
    emit(node, "LayerNormalization", {tensor(node, 0), parameter(node, 2), parameter(node, 3)},
         {{"axis", std::int64_t{-1}}, {"epsilon", static_cast<float>(constant<double>(node, 4))}});
  }

  // aten::softmax(x, axis, type): in opset 11 only the last axis is by itself
  void softmax(const jit::Node& node) {
    const std::int64_t last = rank(node.inputs()[0]) - 1;
    want(axis(node, 1) == last, node);
    emit(node, "Softmax", {tensor(node, 0)}, {{"axis", last}});
  }

  // aten::scaled_dot_product_attention(q, k, v, mask, dropout, is_causal, scale, …), all [b, heads,
  // tokens, d]: softmax(q·kᵀ·scale)·v, where the scale is 1 / √d unless it is given
  void attention(const jit::Node& node) {
    const Ints q = sizes_of(node.inputs()[0]), k = sizes_of(node.inputs()[1]);
    want(q.size() == 4 && k[1] == q[1] && is_none(node, 3) && number(node, 4) == 0 &&
             !constant<bool>(node, 5),
         node);
    const double scale =
        is_none(node, 6) ? 1 / std::sqrt(static_cast<double>(q[3])) : number(node, 6);
    const std::string scaled = between("Mul", {tensor(node, 0), scalar(scale)});
    const std::string turned_k =
        between("Transpose", {tensor(node, 1)}, {{"perm", Ints{0, 1, 3, 2}}});
    const std::string weights =
        between("Softmax", {between("MatMul", {scaled, turned_k})}, {{"axis", std::int64_t{3}}});
    emit(node, "MatMul", {weights, tensor(node, 2)});
  }

  // aten::permute(x, axes)
  void permute(const jit::Node& node) {
    Ints axes = list(node, 1);
    for (std::int64_t& each : axes) each = each < 0 ? each + std::ssize(axes) : each;
    emit(node, "Transpose", {tensor(node, 0)}, {{"perm", std::move(axes)}});
  }

  // aten::transpose(x, axis, other axis)
  void swap_axes(const jit::Node& node) {
    const std::int64_t first = axis(node, 1), second = axis(node, 2);
    Ints axes(static_cast<std::size_t>(rank(node.inputs()[0])));
    std::iota(axes.begin(), axes.end(), 0);
    std::swap(axes[static_cast<std::size_t>(first)], axes[static_cast<std::size_t>(second)]);
    emit(node, "Transpose", {tensor(node, 0)}, {{"perm", std::move(axes)}});
  }

  // aten::select(x, axis, place)
  void select(const jit::Node& node) {
    take(node.outputs()[0], tensor(node, 0), axis(node, 1), constant<std::int64_t>(node, 2));
  }

  // aten::unbind(x, axis): a list, which a node behind it takes apart
  void unbind(const jit::Node& node) {
    const jit::Value* const parts = node.outputs()[0];
    want(parts->uses().size() == 1, node);
    const jit::Node& unpack = *parts->uses()[0].user;
    want(unpack.kind() == c10::prim::ListUnpack, node);
    for (std::size_t i = 0; i < unpack.outputs().size(); ++i)
      take(unpack.outputs()[i], tensor(node, 0), axis(node, 1), static_cast<std::int64_t>(i));
  }

  /// `value` is the part of `x` at a place of an axis, without that axis.
  void take(const jit::Value* value, const std::string& x, std::int64_t along, std::int64_t place) {
    names_[value] = between("Gather", {x, integers({}, {place})}, {{"axis", along}});
  }

  void relu(const jit::Node& node) { emit(node, "Relu", {tensor(node, 0)}); }
  void sigmoid(const jit::Node& node) { emit(node, "Sigmoid", {tensor(node, 0)}); }

  // aten::dropout(x, rate, training)
  void dropout(const jit::Node& node) {
    want(!constant<bool>(node, 2), node);
    names_[node.outputs()[0]] = tensor(node, 0);
  }

  /// Everything that gives the numbers of each image another shape.
  void reshape(const jit::Node& node) {
    const Ints from = sizes_of(node.inputs()[0]);
    Ints to = sizes_of(node.outputs()[0]);
    want(to.size() > 1 && from[0] == kBatch && to[0] == kBatch, node);
    if (to.size() == 2)
      return emit(node, "Flatten", {tensor(node, 0)}, {{"axis", std::int64_t{1}}});
    to[0] = 0;  // as it is
    const auto extents = std::ssize(to);
    emit(node, "Reshape", {tensor(node, 0), integers({extents}, std::move(to))});
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
    names_[node.outputs()[0]] = between(op, std::move(inputs), std::move(attributes));
  }

  /// A node whose output has no counterpart in the trace; returns the output's name.
  std::string between(const char* op, std::vector<std::string> inputs,
                      std::map<std::string, OnnxGraph::Attribute> attributes = {}) {
    std::string output = std::to_string(graph_.nodes.size());
    graph_.nodes.push_back({op, std::move(inputs), output, std::move(attributes)});
    return output;
  }

  // Constants that are no parameters are named by their values.

  std::string scalar(double value) {
    const std::string name = "number." + format("%.9g", value);
    graph_.constants[name] = {{}, {value}};
    return name;
  }
  std::string integers(Ints shape, const Ints& values) {
    std::string name = shape.empty() ? "place" : "shape";
    for (const std::int64_t value : values) name += "." + std::to_string(value);
    graph_.constants[name] = {
        std::move(shape), {values.begin(), values.end()}, OnnxGraph::Type::kInt64};
    return name;
  }

  /// A tensor, or a number that stands for one.
  std::string operand(const jit::Node& node, std::size_t input) {
    const auto value = jit::toIValue(node.inputs()[input]);
    if (!value) return tensor(node, input);
    if (!value->isTensor()) return scalar(number(node, input));
    want(value->toTensor().numel() == 1, node);
    return scalar(value->toTensor().item<double>());
  }

  double number(const jit::Node& node, std::size_t input) const {
    const auto value = jit::toIValue(node.inputs()[input]);
    want(value && value->isScalar(), node);
    return value->toScalar().toDouble();
  }

  static std::int64_t rank(const jit::Value* value) { return std::ssize(sizes_of(value)); }
  /// The axis that an input names, of the node's first input.
  std::int64_t axis(const jit::Node& node, std::size_t input) const {
    const auto named = constant<std::int64_t>(node, input);
    return named < 0 ? named + rank(node.inputs()[0]) : named;
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

  Ints list(const jit::Node& node, std::size_t input) const {
    const auto known = jit::toIValue(node.inputs()[input]);
    if (known && known->isIntList()) return known->toIntVector();
    const jit::Node& made = *node.inputs()[input]->node();
    Ints values;
    for (std::size_t i = 0; i < made.inputs().size(); ++i)
      values.push_back(constant<std::int64_t>(made, i));
    return values;
  }

  /// A list of integers for height and width; one stands for both.
  Ints pair(const jit::Node& node, std::size_t input) const {
    Ints values = list(node, input);
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
