#include "formats/onnx_match.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "pfc/base/format.h"
#include "pfc/formats/tensor_stream.h"

namespace pfc {
namespace {

using Node = OnnxGraph::Node;
using Constant = OnnxGraph::Constant;
using Ints = std::vector<std::int64_t>;

/// Ends a comparison.
struct Mismatch {
  std::string place, problem;
};

std::string text_of(const OnnxGraph::Attribute& attribute) {
  if (const auto* integer = std::get_if<std::int64_t>(&attribute)) return std::to_string(*integer);
  if (const auto* number = std::get_if<float>(&attribute)) return std::to_string(*number);
  return shape_text(std::get<Ints>(attribute));
}

/// y = scale·x + shift for each of the input's channels; one value stands for all.
struct InputMap {
  std::vector<double> scale = {1}, shift = {0};
};

class Match {
 public:
  Match(const OnnxGraph& file, const OnnxGraph& network) : file_(file), network_(network) {
    for (const Node& node : file.nodes) {
      for (const std::string& input : node.inputs) consumers_[input].push_back(&node);
    }
    for (const Node& node : network.nodes) {
      producers_[node.output] = &node;
      for (const std::string& input : node.inputs) next_[input].push_back(&node);
    }
  }

  OnnxMatch run() {
    try {
      require_input();
      map_input();
      for (const Node& node : network_.nodes) {
        match(node);
        ++result_.nodes;
      }
      require_end();
    } catch (const Mismatch& mismatch) {
      result_.place = mismatch.place;
      result_.problem = mismatch.problem;
    }
    return std::move(result_);
  }

 private:
  static std::string place_of(const Node& node) {
    return "node '" + printable(node.name) + "' (" + printable(node.op) + ")";
  }
  [[noreturn]] static void differ(const Node& node, std::string problem) {
    throw Mismatch{place_of(node), std::move(problem)};
  }
  std::string has(const std::string& what) const { return network_.network + " has " + what; }

  void require_input() const {
    const Ints &found = file_.input.shape, &want = network_.input.shape;
    const bool fits = std::ranges::equal(
        found, want, [](std::int64_t a, std::int64_t b) { return a == -1 || a == b; });
    if (found.empty() || fits) return;
    throw Mismatch{"input '" + printable(file_.input.name) + "'",
                   "images of " + shape_text(found) + ", " + has(shape_text(want))};
  }

  const std::vector<const Node*>& consumers(const std::string& tensor) const {
    static const std::vector<const Node*> none;
    const auto found = consumers_.find(tensor);
    return found == consumers_.end() ? none : found->second;
  }

  const Constant* constant(const std::string& name) const {
    const auto found = file_.constants.find(name);
    return found == file_.constants.end() ? nullptr : &found->second;
  }

  /// Follows what the file does to each pixel at its beginning.
  void map_input() {
    InputMap map;
    std::string tensor = file_.input.name;
    const Node* last = nullptr;
    while (consumers(tensor).size() == 1 && apply(*consumers(tensor)[0], tensor, map)) {
      last = consumers(tensor)[0];
      tensor = last->output;
    }
    tensors_[network_.input.name] = tensor;
    if (last == nullptr) return;
    // Of the pixel v in [-1, 1] that networks here take, x = 127.5·(v + 1) or (v + 1) / 2.
    for (const double half_range : {127.5, 0.5}) {
      std::vector<double> scale;
      bool is_centred = true;
      for (std::size_t c = 0; c < map.scale.size(); ++c) {
        scale.push_back(half_range * map.scale[c]);
        is_centred = is_centred && std::abs(scale[c] + map.shift[c]) <= 1e-5 * std::abs(scale[c]) &&
                     scale[c] != 0 && std::isfinite(scale[c]);
      }
      if (!is_centred) continue;
      // Rounding of 1 / 127.5 should not change every weight.
      const auto is_one = [](double s) { return std::abs(s - 1) < 1e-6; };
      if (std::ranges::all_of(scale, is_one)) return;
      const auto& takers = next_.at(network_.input.name);
      if (takers.size() != 1 || takers[0]->op != "Conv")
        differ(*last, "its scale cannot go into a first convolution");
      input_scale_ = scale;
      return;
    }
    differ(*last, "the input becomes 0 at pixel " + std::to_string(-map.shift[0] / map.scale[0]) +
                      " where ours does at 127.5, or at 0.5 of 1; the padding of the first "
                      "convolution hinders that this be made up for");
  }

  /// Whether `node` is a known map of single pixels, which then goes behind `map`.
  bool apply(const Node& node, const std::string& tensor, InputMap& map) const {
    if (node.inputs.size() != 2) return false;
    const bool is_first = node.inputs[0] == tensor;
    const Constant* const by = constant(node.inputs[is_first ? 1 : 0]);
    const std::size_t channels = 3;
    if (by == nullptr || (by->values.size() != 1 && by->values.size() != channels)) return false;
    const bool multiplies = node.op == "Mul" || (node.op == "Div" && is_first);
    const bool adds = node.op == "Add" || (node.op == "Sub" && is_first);
    if (!multiplies && !adds) return false;
    if (by->values.size() > map.scale.size()) {
      map.scale.assign(channels, map.scale[0]);
      map.shift.assign(channels, map.shift[0]);
    }
    for (std::size_t c = 0; c < map.scale.size(); ++c) {
      const double value = by->values[by->values.size() == 1 ? 0 : c];
      const double factor = node.op == "Div" ? 1 / value : value;
      if (multiplies) {
        map.scale[c] *= factor;
        map.shift[c] *= factor;
      } else {
        map.shift[c] += node.op == "Sub" ? -value : value;
      }
    }
    return true;
  }

  void match(const Node& node) {
    if (node.op == "BatchNormalization") return match_norm(node);
    const Node& found = find(node);
    if (node.op == "Conv" || node.op == "Gemm") {
      match_layer(node, found);
    } else if (node.op == "PRelu") {
      match_slope(node, found);
    }
    tensors_[node.output] = found.output;
  }

  /// The file's node that is `node`.
  const Node& find(const Node& node) {
    const std::string& x = tensors_.at(node.inputs[0]);
    const Node* other = nullptr;
    for (const Node* each : consumers(x)) {
      if (used_.contains(each)) continue;
      if (each->op == node.op && has_same_inputs(node, *each)) {
        require_same_attributes(node, *each);
        used_.insert(each);
        return *each;
      }
      if (other == nullptr || each->op == node.op) other = each;
    }
    if (other != nullptr && other->op == node.op)
      differ(*other, "it takes another tensor than that of " + network_.network);
    if (other != nullptr) differ(*other, has("a " + node.op + " at this place"));
    throw Mismatch{"its end",
                   "nothing comes after '" + printable(x) + "', where " + has("a " + node.op)};
  }

  /// Compares the inputs that are computed.
  bool has_same_inputs(const Node& node, const Node& found) const {
    if (node.op != "Add") return found.inputs[0] == tensors_.at(node.inputs[0]);
    std::vector<std::string> want;
    for (const std::string& input : node.inputs) want.push_back(tensors_.at(input));
    return std::ranges::is_permutation(found.inputs, want);
  }

  void require_same_attributes(const Node& node, const Node& found) const {
    for (const auto& [name, value] : node.attributes) {
      const auto other = found.attributes.find(name);
      if (other == found.attributes.end() || other->second != value) {
        differ(found, name + " " +
                          (other == found.attributes.end() ? "unset" : text_of(other->second)) +
                          ", " + has(text_of(value)));
      }
    }
  }

  void match_layer(const Node& node, const Node& found) {
    const std::string& name = node.inputs[1];
    const Constant& weight = file_.constants.at(found.inputs[1]);
    const Ints& want = network_.constants.at(name).shape;
    if (weight.shape != want)
      differ(found, "a weight of shape " + shape_text(weight.shape) + ", " + has(shape_text(want)));
    result_.constants[name] = &weight;
    if (node.op == "Conv" && node.inputs[0] == network_.input.name && !input_scale_.empty())
      result_.constants[name] = &scaled(weight);
    const Constant* const bias = found.inputs.size() > 2 ? constant(found.inputs[2]) : nullptr;
    if (node.inputs.size() > 2) {
      result_.constants[node.inputs[2]] = bias != nullptr ? bias : &filled(want[0], 0);
    } else if (bias != nullptr) {
      biases_[node.output] = bias;
    }
  }

  const Constant& scaled(const Constant& weight) {
    Constant& result = result_.made.emplace_back(weight);
    const std::size_t channels = static_cast<std::size_t>(weight.shape[1]);
    const std::size_t pixels = static_cast<std::size_t>(weight.shape[2] * weight.shape[3]);
    for (std::size_t i = 0; i < result.values.size(); ++i)
      result.values[i] *=
          input_scale_[input_scale_.size() == 1 ? 0 : i / pixels % channels % input_scale_.size()];
    return result;
  }

  const Constant& filled(std::int64_t size, double value) {
    return result_.made.emplace_back(
        Constant{{size}, std::vector<double>(static_cast<std::size_t>(size), value)});
  }

  void match_slope(const Node& node, const Node& found) {
    const Constant& slope = file_.constants.at(found.inputs[1]);
    const std::int64_t channels = network_.constants.at(node.inputs[1]).shape[0];
    const std::string& name = node.inputs[1];
    if (slope.values.size() == 1) {
      result_.constants[name] = &filled(channels, slope.values[0]);
    } else if (std::ssize(slope.values) == channels) {
      result_.constants[name] = &slope;
    } else {
      differ(found, counted(std::ssize(slope.values), "slope") + ", " + has(grouped(channels)));
    }
  }

  // Inputs of a BatchNormalization.
  static constexpr std::size_t kGamma = 1, kBeta = 2, kMean = 3, kVariance = 4;

  void match_norm(const Node& node) {
    const std::string& x = tensors_.at(node.inputs[0]);
    const auto bias = biases_.find(node.inputs[0]);
    const Constant* const added = bias == biases_.end() ? nullptr : bias->second;
    for (const Node* found : consumers(x)) {
      if (found->op != "BatchNormalization" || used_.contains(found)) continue;
      used_.insert(found);
      tensors_[node.output] = found->output;
      return take_norm(node, *found, added);
    }
    if (!may_be_folded(node)) {
      const auto& next = consumers(x);
      if (next.empty()) throw Mismatch{"its end", has("a BatchNormalization after it")};
      differ(*next[0], has("a BatchNormalization at this place"));
    }
    tensors_[node.output] = x;
    fold_norm(node, added);
  }

  bool may_be_folded(const Node& norm) const {
    const auto before = producers_.find(norm.inputs[0]);
    if (before != producers_.end() &&
        (before->second->op == "Conv" || before->second->op == "Gemm"))
      return true;
    const Node* after = only_next(norm.output);
    if (after != nullptr && after->op == "Flatten") after = only_next(after->output);
    return after != nullptr && after->op == "Gemm";
  }
  const Node* only_next(const std::string& tensor) const {
    const auto found = next_.find(tensor);
    return found != next_.end() && found->second.size() == 1 ? found->second[0] : nullptr;
  }

  static float epsilon_of(const Node& norm) {
    return std::get<float>(norm.attributes.at("epsilon"));
  }

  /// `added` is a bias of the layer before: it moves the mean.
  void take_norm(const Node& node, const Node& found, const Constant* added) {
    const Ints& want = network_.constants.at(node.inputs[kGamma]).shape;
    for (std::size_t i = kGamma; i <= kVariance; ++i) {
      const Constant& values = file_.constants.at(found.inputs[i]);
      if (values.shape != want) {
        differ(found, shape_text(values.shape) + " channels, " + has(shape_text(want)));
      }
      result_.constants[node.inputs[i]] = &values;
    }
    if (added != nullptr) {
      Constant& mean = result_.made.emplace_back(*result_.constants[node.inputs[kMean]]);
      for (std::size_t c = 0; c < mean.values.size(); ++c) mean.values[c] -= added->values[c];
      result_.constants[node.inputs[kMean]] = &mean;
    }
    // MXNet's models have another epsilon. Only its sum with the variance is used.
    const double more = static_cast<double>(epsilon_of(found)) - epsilon_of(node);
    if (more != 0) {
      Constant& variance = result_.made.emplace_back(*result_.constants[node.inputs[kVariance]]);
      for (double& value : variance.values) value += more;
      result_.constants[node.inputs[kVariance]] = &variance;
    }
  }

  /// One that only adds the bias of the folded layer. It divides by √(variance + epsilon), of which
  /// float32 makes exactly 1: 1 − 1e-5 is off by 1.4e-8 as a float32, its sum with epsilon as much,
  /// and the nearest number to that sum is 1, since the next one below is 6e-8 away.
  void fold_norm(const Node& node, const Constant* added) {
    const std::int64_t channels = network_.constants.at(node.inputs[kGamma]).shape[0];
    result_.constants[node.inputs[kGamma]] = &filled(channels, 1);
    result_.constants[node.inputs[kBeta]] = added != nullptr ? added : &filled(channels, 0);
    result_.constants[node.inputs[kMean]] = &filled(channels, 0);
    result_.constants[node.inputs[kVariance]] = &filled(channels, 1.0 - epsilon_of(node));
  }

  void require_end() const {
    const std::string& output = tensors_.at(network_.output.name);
    if (output == file_.output.name) return;
    const auto& next = consumers(output);
    if (next.empty())
      throw Mismatch{"output '" + printable(file_.output.name) + "'", "it is not the embedding"};
    differ(*next[0], network_.network + " ends before it");
  }

  const OnnxGraph &file_, &network_;
  OnnxMatch result_;
  std::map<std::string, std::vector<const Node*>> consumers_;  ///< in the file
  std::map<std::string, std::vector<const Node*>> next_;       ///< in the network
  std::map<std::string, const Node*> producers_;               ///< in the network
  std::map<std::string, std::string> tensors_;     ///< the network's, and the file's that they are
  std::map<std::string, const Constant*> biases_;  ///< of layers that have none in the network
  std::set<const Node*> used_;
  std::vector<double> input_scale_;  ///< of the first convolution's weight; empty: 1
};

}  // namespace

OnnxMatch match_onnx(const OnnxGraph& file, const OnnxGraph& network) {
  return Match(file, network).run();
}

}  // namespace pfc
