#pragma once

#include <cstdint>
#include <string>

#include "formats/onnx_graph.h"
#include "model/layers.h"

namespace pfc {

/// Writes down what a network calls, as trace_onnx would find it, without making the network.
/// Constants have shapes and no values. Each function adds a layer named `module` and returns the
/// tensor that it computes from `x`.
class LayerGraph {
 public:
  LayerGraph();

  /// The images.
  const std::string& input() const { return graph_.input.name; }

  std::string conv(const std::string& module, const ConvShape& shape, const std::string& x);
  /// Of the channels that the layer before it has.
  std::string norm(const std::string& module, const std::string& x);
  std::string prelu(const std::string& module, const std::string& x);
  std::string linear(const std::string& module, std::int64_t in, std::int64_t out, bool has_bias,
                     const std::string& x);
  std::string sum(const std::string& x, const std::string& y);
  std::string flatten(const std::string& x);

  /// The graph whose output is `x`.
  OnnxGraph ended_with(const std::string& x);

 private:
  std::string add(const char* op, std::vector<std::string> inputs,
                  std::map<std::string, OnnxGraph::Attribute> attributes = {});
  std::string constant(const std::string& name, std::vector<std::int64_t> shape);

  OnnxGraph graph_;
  std::int64_t channels_ = 3;  ///< of the last layer
};

}  // namespace pfc
