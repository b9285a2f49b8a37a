#include "model/layer_graph.h"

#include <utility>
#include <vector>

#include "pfc/data/image_codec.h"  // for kFaceSize

namespace pfc {

using Ints = std::vector<std::int64_t>;

LayerGraph::LayerGraph() {
  graph_.input = {"data", {3, kFaceSize, kFaceSize}};
}

std::string LayerGraph::conv(const std::string& module, const ConvShape& shape,
                             const std::string& x) {
  channels_ = shape.out;
  const std::string weight = constant(
      module + ".weight", {shape.out, shape.in / shape.groups, shape.kernel, shape.kernel});
  return add("Conv", {x, weight},
             {{"kernel_shape", Ints{shape.kernel, shape.kernel}},
              {"strides", Ints{shape.stride, shape.stride}},
              {"pads", Ints(4, shape.padding)},
              {"dilations", Ints{1, 1}},
              {"group", shape.groups}});
}

std::string LayerGraph::norm(const std::string& module, const std::string& x) {
  std::vector<std::string> inputs = {x};
  for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"})
    inputs.push_back(constant(module + part, {channels_}));
  return add("BatchNormalization", std::move(inputs),
             {{"epsilon", static_cast<float>(BatchNorm::kEpsilon)}});
}

std::string LayerGraph::prelu(const std::string& module, const std::string& x) {
  return add("PRelu", {x, constant(module + ".weight", {channels_})});
}

std::string LayerGraph::linear(const std::string& module, std::int64_t in, std::int64_t out,
                               bool has_bias, const std::string& x) {
  channels_ = out;
  std::vector<std::string> inputs = {x, constant(module + ".weight", {out, in})};
  if (has_bias) inputs.push_back(constant(module + ".bias", {out}));
  return add("Gemm", std::move(inputs), {{"transB", std::int64_t{1}}});
}

std::string LayerGraph::sum(const std::string& x, const std::string& y) {
  return add("Add", {x, y});
}

std::string LayerGraph::flatten(const std::string& x) {
  return add("Flatten", {x}, {{"axis", std::int64_t{1}}});
}

OnnxGraph LayerGraph::ended_with(const std::string& x) {
  graph_.output = {x, {channels_}};
  return std::move(graph_);
}

std::string LayerGraph::add(const char* op, std::vector<std::string> inputs,
                            std::map<std::string, OnnxGraph::Attribute> attributes) {
  std::string output = std::to_string(graph_.nodes.size());
  graph_.nodes.push_back({op, std::move(inputs), output, std::move(attributes)});
  return output;
}

std::string LayerGraph::constant(const std::string& name, Ints shape) {
  graph_.constants[name].shape = std::move(shape);
  return name;
}

}  // namespace pfc
