#include "formats/onnx_reader.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "formats/onnx_model.h"
#include "formats/onnx_tensor.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using Constant = OnnxGraph::Constant;
using Ints = std::vector<std::int64_t>;

// Extents in the shape of the network's input that are not numbers yet.
constexpr std::int64_t kBatch = -2, kOther = -3;

class Reader {
 public:
  Reader(onnx::ModelProto model, std::string_view file, const std::filesystem::path& folder)
      : model_(std::move(model)), file_(file), tensors_(file_, folder) {}

  OnnxGraph read() {
    onnx::GraphProto& graph = *model_.mutable_graph();
    for (onnx::TensorProto& tensor : *graph.mutable_initializer()) unread_[tensor.name()] = &tensor;
    read_ports(graph);
    for (const auto& node : graph.node()) {
      for (const std::string& input : node.input()) ++uses_[input];
    }
    ++uses_[graph_.output.name];
    graph_.network = graph.name();
    for (onnx::NodeProto& node : *graph.mutable_node()) read(node);
    graph_.output.name = known(graph_.output.name);
    if (!computed_.contains(graph_.output.name)) {
      throw DataError(file_, "output '" + printable(graph_.output.name) + "'",
                      "no node computes it");
    }
    leave_out_unused();
    return std::move(graph_);
  }

 private:
  void read_ports(const onnx::GraphProto& graph) {
    std::vector<const onnx::ValueInfoProto*> inputs;
    for (const auto& input : graph.input()) {
      // Files of old list their constants too.
      if (!unread_.contains(input.name())) inputs.push_back(&input);
    }
    if (inputs.size() != 1 || graph.output_size() != 1) {
      throw DataError(file_, "its graph",
                      "a network of " + counted(std::ssize(inputs), "input") + " and " +
                          counted(graph.output_size(), "output") +
                          ", want one that makes embeddings of images");
    }
    graph_.input.name = inputs[0]->name();
    const auto& shape = inputs[0]->type().tensor_type().shape();
    for (int axis = 1; axis < shape.dim_size(); ++axis) {
      const auto& dim = shape.dim(axis);
      graph_.input.shape.push_back(dim.has_dim_value() && dim.dim_value() > 0 ? dim.dim_value()
                                                                              : -1);
    }
    graph_.output.name = graph.output(0).name();
    computed_.insert(graph_.input.name);
  }

  void read(onnx::NodeProto& node) {
    using Rule = void (Reader::*)(onnx::NodeProto&);
    static const std::unordered_map<std::string_view, Rule> rules = {
        {"Add", &Reader::sum},
        {"BatchNormalization", &Reader::batch_norm},
        {"Cast", &Reader::cast},
        {"Concat", &Reader::join},
        {"Constant", &Reader::constant},
        {"Conv", &Reader::convolution},
        {"Div", &Reader::with_constants},
        {"Dropout", &Reader::same},
        {"Flatten", &Reader::flatten},
        {"Gather", &Reader::pick},
        {"Gemm", &Reader::gemm},
        {"Identity", &Reader::same},
        {"MatMul", &Reader::product},
        {"Mul", &Reader::with_constants},
        {"PRelu", &Reader::prelu},
        {"Reshape", &Reader::reshape},
        {"Shape", &Reader::shape},
        {"Squeeze", &Reader::reshape_constant},
        {"Sub", &Reader::with_constants},
        {"Transpose", &Reader::transpose},
        {"Unsqueeze", &Reader::reshape_constant},
    };
    if (node.output_size() == 0 || node.output(0).empty()) fail(node, "it has no output");
    const auto rule = rules.find(node.op_type());
    if (rule != rules.end() && is_standard(node)) return std::invoke(rule->second, this, node);
    keep(node);
  }

  /// Whether the operator is ONNX's own.
  static bool is_standard(const onnx::NodeProto& node) {
    return node.domain().empty() || node.domain() == "ai.onnx";
  }

  [[noreturn]] void fail(const onnx::NodeProto& node, const std::string& what) const {
    throw DataError(file_, place_of(node), what);
  }
  static std::string title_of(const onnx::NodeProto& node) {
    return node.name().empty() ? node.output(0) : node.name();
  }
  static std::string place_of(const onnx::NodeProto& node) {
    return "node '" + printable(node.output_size() == 0 ? node.name() : title_of(node)) + "' (" +
           printable(node.op_type()) + ")";
  }

  /// The name by which a tensor is known here.
  std::string known(const std::string& name) const {
    const auto found = same_as_.find(name);
    return found == same_as_.end() ? name : found->second;
  }

  std::string input(const onnx::NodeProto& node, int i) const {
    if (i >= node.input_size() || node.input(i).empty())
      fail(node, "it has no input " + std::to_string(i + 1));
    return known(node.input(i));
  }
  static bool has_input(const onnx::NodeProto& node, int i) {
    return i < node.input_size() && !node.input(i).empty();
  }

  /// An input that is computed from the image.
  std::string computed(const onnx::NodeProto& node, int i) const {
    std::string name = input(node, i);
    if (!computed_.contains(name)) {
      fail(node, "its input '" + printable(name) + "' is not computed from the image before it");
    }
    return name;
  }

  /// A constant by the name by which it is known; null if the tensor is none.
  Constant* find_constant(const std::string& name) {
    if (const auto found = graph_.constants.find(name); found != graph_.constants.end())
      return &found->second;
    const auto found = unread_.find(name);
    if (found == unread_.end()) return nullptr;
    onnx::TensorProto& tensor = *found->second;
    unread_.erase(found);
    return &(graph_.constants[name] = tensors_.take(tensor, name));
  }
  Constant* constant_at(const onnx::NodeProto& node, int i) {
    return has_input(node, i) ? find_constant(known(node.input(i))) : nullptr;
  }
  Constant& want_constant(const onnx::NodeProto& node, int i) {
    Constant* const found = constant_at(node, i);
    if (found == nullptr)
      fail(node, "its input '" + printable(input(node, i)) + "' is not a constant of the file");
    return *found;
  }

  static std::size_t count(std::int64_t extent) { return static_cast<std::size_t>(extent); }

  const onnx::AttributeProto* attribute(const onnx::NodeProto& node, std::string_view name) const {
    const auto found = std::ranges::find(node.attribute(), name,
                                         [](const auto& a) { return std::string_view(a.name()); });
    return found == node.attribute().end() ? nullptr : &*found;
  }
  std::int64_t integer(const onnx::NodeProto& node, std::string_view name,
                       std::int64_t usual) const {
    const auto* const found = attribute(node, name);
    return found == nullptr ? usual : found->i();
  }
  float number(const onnx::NodeProto& node, std::string_view name, float usual) const {
    const auto* const found = attribute(node, name);
    return found == nullptr ? usual : found->f();
  }
  Ints integers(const onnx::NodeProto& node, std::string_view name, Ints usual) const {
    const auto* const found = attribute(node, name);
    return found == nullptr ? std::move(usual) : Ints(found->ints().begin(), found->ints().end());
  }

  void emit(const onnx::NodeProto& node, const char* op, std::vector<std::string> inputs,
            std::map<std::string, OnnxGraph::Attribute> attributes = {}) {
    define(node);
    graph_.nodes.push_back(
        {op, std::move(inputs), node.output(0), std::move(attributes), title_of(node)});
  }
  /// From here on nodes may use the output. A name that a node takes from another one would make
  /// the graph mean something else.
  void define(const onnx::NodeProto& node) {
    const std::string& name = node.output(0);
    if (same_as_.contains(name) || lists_.contains(name) || find_constant(name) != nullptr ||
        !computed_.insert(name).second) {
      fail(node, "its output '" + printable(name) + "' is there already");
    }
  }
  void define_constant(const onnx::NodeProto& node, Constant constant) {
    define(node);
    computed_.erase(node.output(0));
    add_constant(node, node.output(0), std::move(constant));
  }
  /// A constant that the file does not have as it is. Many nodes that each turn one large matrix
  /// would take more memory than there is.
  void add_constant(const onnx::NodeProto& node, const std::string& name, Constant constant) {
    constexpr std::int64_t kSome = 1 << 20;
    added_ += std::ssize(constant.values);
    if (added_ > 2 * tensors_.taken() + kSome)
      fail(node, "by here more numbers were made of the constants than a network wants");
    graph_.constants[name] = std::move(constant);
  }

  /// A node that has no rule.
  void keep(const onnx::NodeProto& node) {
    std::vector<std::string> inputs;
    for (const std::string& name : node.input()) inputs.push_back(known(name));
    std::map<std::string, OnnxGraph::Attribute> attributes;
    for (const auto& each : node.attribute()) {
      if (each.type() == onnx::AttributeProto::INT) attributes[each.name()] = each.i();
      if (each.type() == onnx::AttributeProto::FLOAT) attributes[each.name()] = each.f();
      if (each.type() == onnx::AttributeProto::INTS)
        attributes[each.name()] = Ints(each.ints().begin(), each.ints().end());
    }
    const std::string op =
        is_standard(node) ? node.op_type() : node.domain() + "." + node.op_type();
    emit(node, op.c_str(), std::move(inputs), std::move(attributes));
  }

  /// Identity, and what is one in evaluation.
  void same(onnx::NodeProto& node) {
    const std::string name = input(node, 0);
    define(node);
    computed_.erase(node.output(0));
    same_as_[node.output(0)] = name;
    uses_[name] += uses_[node.output(0)] - 1;
  }

  /// Between types of floating-point numbers it only changes how exactly they are kept.
  void cast(onnx::NodeProto& node) {
    using Type = onnx::TensorProto;
    const std::int64_t to = integer(node, "to", Type::UNDEFINED);
    const bool is_float =
        to == Type::FLOAT || to == Type::FLOAT16 || to == Type::BFLOAT16 || to == Type::DOUBLE;
    if (is_float || !computed_.contains(input(node, 0))) return same(node);
    keep(node);
  }

  void constant(onnx::NodeProto& node) {
    for (auto& each : *node.mutable_attribute()) {
      if (each.name() == "value")
        return define_constant(node, tensors_.take(*each.mutable_t(), node.output(0)));
      if (each.name() == "value_float") return define_constant(node, {{}, {each.f()}});
      if (each.name() == "value_int")
        return define_constant(node, {{}, {static_cast<double>(each.i())}});
      if (each.name() == "value_floats")
        return define_constant(
            node, {{each.floats_size()}, {each.floats().begin(), each.floats().end()}});
      if (each.name() == "value_ints")
        return define_constant(node,
                               {{each.ints_size()}, {each.ints().begin(), each.ints().end()}});
    }
    keep(node);
  }

  // Conv(x, weight, bias?)
  void convolution(onnx::NodeProto& node) {
    std::vector<std::string> inputs = {computed(node, 0), input(node, 1)};
    const Ints shape = want_constant(node, 1).shape;
    const auto* const padding = attribute(node, "auto_pad");
    if (shape.size() != 4 || std::ranges::count(shape, 0) > 0)
      fail(node, "a weight of " + counted(std::ssize(shape), "dimension") + ", want 4");
    if (padding != nullptr && padding->s() != "NOTSET" && padding->s() != "VALID")
      fail(node, "a padding of '" + printable(padding->s()) + "', want one in numbers");
    if (has_input(node, 2)) {
      want_values(node, 2, shape[0]);
      inputs.push_back(input(node, 2));
    }
    emit(node, "Conv", std::move(inputs),
         {{"kernel_shape", Ints{shape[2], shape[3]}},
          {"strides", integers(node, "strides", {1, 1})},
          {"pads", integers(node, "pads", {0, 0, 0, 0})},
          {"dilations", integers(node, "dilations", {1, 1})},
          {"group", integer(node, "group", 1)}});
  }

  /// A constant of `values` numbers.
  Constant& want_values(const onnx::NodeProto& node, int i, std::int64_t values) {
    Constant& found = want_constant(node, i);
    if (found.values.size() != count(values)) {
      fail(node, "'" + printable(input(node, i)) + "' has " +
                     counted(std::ssize(found.values), "value") + ", want " + grouped(values));
    }
    return found;
  }

  // BatchNormalization(x, weight, bias, mean, variance). A file that was exported for training
  // normalises over the batch there; the running statistics are the same.
  void batch_norm(onnx::NodeProto& node) {
    std::vector<std::string> inputs = {computed(node, 0)};
    for (int i = 1; i < 5; ++i) {
      inputs.push_back(input(node, i));
      want_values(node, i, std::ssize(want_constant(node, 1).values));
    }
    emit(node, "BatchNormalization", std::move(inputs),
         {{"epsilon", number(node, "epsilon", 1e-5f)}});
  }

  // PRelu(x, slope)
  void prelu(onnx::NodeProto& node) {
    const Constant slope = want_constant(node, 1);  // another node may use it in another shape
    const std::string name = node.output(0) + "/slope";
    emit(node, "PRelu", {computed(node, 0), name});
    add_constant(node, name, {{std::ssize(slope.values)}, slope.values});
  }

  // Gemm(x, weight, bias?)
  void gemm(onnx::NodeProto& node) {
    if (integer(node, "transA", 0) != 0 || number(node, "alpha", 1) != 1 ||
        (has_input(node, 2) && number(node, "beta", 1) != 1)) {
      fail(node, "it transposes or scales what it multiplies");
    }
    linear(node, integer(node, "transB", 0) != 0);
  }

  // MatMul(x, weight)
  void product(onnx::NodeProto& node) {
    const Constant* const weight = constant_at(node, 1);
    if (weight == nullptr || weight->shape.size() != 2) return keep(node);
    linear(node, /*is_transposed=*/false);
  }

  void linear(const onnx::NodeProto& node, bool is_transposed) {
    const Constant& weight = want_constant(node, 1);
    if (weight.shape.size() != 2 || std::ranges::count(weight.shape, 0) > 0)
      fail(node, "a weight of " + counted(std::ssize(weight.shape), "dimension") + ", want 2");
    std::vector<std::string> inputs = {computed(node, 0), input(node, 1)};
    const std::int64_t outputs = weight.shape[is_transposed ? 0 : 1];
    if (has_input(node, 2)) {
      want_values(node, 2, outputs);
      inputs.push_back(input(node, 2));
    }
    Constant turned = is_transposed ? Constant() : transposed(weight);
    if (!is_transposed) inputs[1] = node.output(0) + "/weight";
    const std::string name = inputs[1];
    emit(node, "Gemm", std::move(inputs), {{"transB", std::int64_t{1}}});
    if (!is_transposed) add_constant(node, name, std::move(turned));
  }

  static Constant transposed(const Constant& matrix) {
    const std::int64_t rows = matrix.shape[0], columns = matrix.shape[1];
    Constant result{{columns, rows}, std::vector<double>(matrix.values.size())};
    for (std::size_t r = 0; r < count(rows); ++r) {
      for (std::size_t c = 0; c < count(columns); ++c)
        result.values[c * count(rows) + r] = matrix.values[r * count(columns) + c];
    }
    return result;
  }

  void transpose(onnx::NodeProto& node) {
    const Constant* const matrix = constant_at(node, 0);
    if (matrix == nullptr || matrix->shape.size() != 2 ||
        integers(node, "perm", {1, 0}) != Ints{1, 0}) {
      return keep(node);
    }
    define_constant(node, transposed(*matrix));
  }

  /// Add(x, y): a bias, if x is a layer without one that nothing else uses.
  void sum(onnx::NodeProto& node) {
    for (const int i : {0, 1}) {
      const Constant* const bias = constant_at(node, i);
      if (bias == nullptr) continue;
      const std::string x = computed(node, 1 - i);
      const auto layer = std::ranges::find(graph_.nodes, x, &OnnxGraph::Node::output);
      if (layer == graph_.nodes.end() || uses_[x] != 1 || layer->inputs.size() != 2 ||
          !is_bias(*bias, *layer)) {
        continue;
      }
      define(node);
      layer->inputs.push_back(input(node, i));
      layer->output = node.output(0);
      return;
    }
    with_constants(node);
  }

  /// Whether adding `values` to what a Conv or a Gemm gives adds one to each of its channels.
  bool is_bias(const Constant& values, const OnnxGraph::Node& layer) const {
    if (layer.op != "Conv" && layer.op != "Gemm") return false;
    const std::int64_t channels = graph_.constants.at(layer.inputs[1]).shape[0];
    Ints want = {1, channels};
    if (layer.op == "Conv") want.insert(want.end(), {1, 1});
    Ints shape = values.shape;
    if (shape.size() > want.size()) return false;
    shape.insert(shape.begin(), want.size() - shape.size(), 1);
    return shape == want;
  }

  /// A node whose constants are wanted later.
  void with_constants(onnx::NodeProto& node) {
    for (int i = 0; i < node.input_size(); ++i) constant_at(node, i);
    keep(node);
  }

  void flatten(onnx::NodeProto& node) {
    if (integer(node, "axis", 1) != 1) return keep(node);
    emit(node, "Flatten", {computed(node, 0)}, {{"axis", std::int64_t{1}}});
  }

  /// Unsqueeze and Squeeze. Of a constant that went through one only the values are used.
  void reshape_constant(onnx::NodeProto& node) {
    if (const auto list = list_at(node, 0)) return define_list(node, *list);
    const Constant* const constant = constant_at(node, 0);
    if (constant == nullptr) return keep(node);
    define_constant(node, {{std::ssize(constant->values)}, constant->values});
  }

  // Reshape(x, shape)
  void reshape(onnx::NodeProto& node) {
    if (constant_at(node, 0) != nullptr) return reshape_constant(node);
    const auto list = list_at(node, 1);
    // Two extents are rows of an image each: a layer behind them says how long a row is.
    if (!list || list->size() != 2 || ((*list)[0] == -1 && (*list)[1] == 1)) return keep(node);
    emit(node, "Flatten", {computed(node, 0)}, {{"axis", std::int64_t{1}}});
  }

  // The operators below compute a shape from that of a tensor, to keep the batch in it.

  void shape(onnx::NodeProto& node) {
    if (!computed_.contains(input(node, 0))) return keep(node);
    define_list(node, {kBatch, kOther, kOther, kOther});
  }

  /// Gather from a shape, along its only axis.
  void pick(onnx::NodeProto& node) {
    const auto list = list_at(node, 0), places = list_at(node, 1);
    if (!list || !places) return keep(node);
    Ints picked;
    for (const std::int64_t place : *places) {
      if (place < 0 || place >= std::ssize(*list)) return keep(node);
      picked.push_back((*list)[count(place)]);
    }
    define_list(node, std::move(picked));
  }

  /// Concat of parts of a shape.
  void join(onnx::NodeProto& node) {
    Ints joined;
    for (int i = 0; i < node.input_size(); ++i) {
      const auto list = list_at(node, i);
      if (!list) return keep(node);
      joined.insert(joined.end(), list->begin(), list->end());
    }
    define_list(node, std::move(joined));
  }

  /// A short list of whole numbers, and of extents that are not numbers yet.
  std::optional<Ints> list_at(const onnx::NodeProto& node, int i) {
    if (!has_input(node, i)) return std::nullopt;
    const std::string name = known(node.input(i));
    if (const auto found = lists_.find(name); found != lists_.end()) return found->second;
    constexpr std::size_t kLongest = 8;
    constexpr double kLargest = 1 << 30;
    const Constant* const constant = find_constant(name);
    if (constant == nullptr || constant->values.size() > kLongest) return std::nullopt;
    Ints list;
    for (const double value : constant->values) {
      if (!(std::abs(value) <= kLargest) || value != std::trunc(value)) return std::nullopt;
      list.push_back(static_cast<std::int64_t>(value));
    }
    return list;
  }
  void define_list(const onnx::NodeProto& node, Ints list) {
    define(node);
    computed_.erase(node.output(0));
    lists_[node.output(0)] = std::move(list);
  }

  void leave_out_unused() {
    std::set<std::string> used = {graph_.output.name};
    std::vector<OnnxGraph::Node> nodes;
    for (auto node = graph_.nodes.rbegin(); node != graph_.nodes.rend(); ++node) {
      if (!used.contains(node->output)) continue;
      used.insert(node->inputs.begin(), node->inputs.end());
      nodes.push_back(std::move(*node));
    }
    std::ranges::reverse(nodes);
    graph_.nodes = std::move(nodes);
    std::erase_if(graph_.constants, [&](const auto& item) { return !used.contains(item.first); });
  }

  onnx::ModelProto model_;
  std::string file_;
  OnnxTensors tensors_;
  OnnxGraph graph_;
  std::map<std::string, onnx::TensorProto*> unread_;  ///< initialisers that nothing has used yet
  std::map<std::string, std::string> same_as_;        ///< what is gone, and what it was the same as
  std::map<std::string, Ints> lists_;                 ///< shapes that are computed
  std::set<std::string> computed_;                    ///< from the image
  std::map<std::string, std::int64_t> uses_;
  std::int64_t added_ = 0;  ///< values of add_constant
};

}  // namespace

OnnxGraph decode_onnx(std::span<const std::byte> file, std::string_view name,
                      const std::filesystem::path& folder) {
  return Reader(parse_model(file, name), name, folder).read();
}

}  // namespace pfc
