#include "model/onnx_network.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "formats/onnx_graph.h"
#include "formats/onnx_match.h"
#include "formats/onnx_reader.h"
#include "model/iresnet.h"
#include "model/mobilefacenet.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

/// The graphs of all networks that have one, for embeddings of a size.
std::vector<OnnxGraph> known_graphs(std::int64_t embedding_size) {
  std::vector<OnnxGraph> all;
  const auto add = [&](const std::string& name, OnnxGraph graph) {
    graph.network = name;
    all.push_back(std::move(graph));
  };
  for (const auto& [name, shape] : named_iresnets())
    add(name, iresnet_graph(shape, embedding_size));
  for (const auto& [name, shape] : named_mobilefacenets())
    add(name, mobilefacenet_graph(shape, embedding_size));
  return all;
}

/// That of the last linear layer.
std::optional<std::int64_t> embedding_size_of(const OnnxGraph& file) {
  for (auto node = file.nodes.rbegin(); node != file.nodes.rend(); ++node) {
    if (node->op == "Gemm") return file.constants.at(node->inputs[1]).shape[0];
  }
  return std::nullopt;
}

TensorStream stream(std::string name, const OnnxGraph::Constant& constant,
                    std::shared_ptr<const void> owner) {
  return {std::move(name), "F32", constant.shape,
          [&constant, owner = std::move(owner)](const ByteSink& sink) {
            const std::vector<float> values(constant.values.begin(), constant.values.end());
            sink(std::as_bytes(std::span(values)));
          }};
}

}  // namespace

SavedState read_onnx_network(const std::filesystem::path& path) {
  struct Found {
    OnnxGraph file;
    OnnxMatch match;
  };
  const auto found = std::make_shared<Found>();
  const MappedFile file(path);
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  found->file = decode_onnx(file.bytes(), path.string(), folder);
  const auto embedding_size = embedding_size_of(found->file);
  if (!embedding_size) {
    throw DataError(path.string(), "its " + counted(std::ssize(found->file.nodes), "node"),
                    "no linear layer among them, which makes the embedding in a known network");
  }
  std::string nearest;
  for (const OnnxGraph& network : known_graphs(*embedding_size)) {
    OnnxMatch match = match_onnx(found->file, network);
    if (nearest.empty() || match.is_whole() || match.nodes > found->match.nodes) {
      nearest = network.network;
      found->match = std::move(match);
    }
    if (found->match.is_whole()) break;
  }
  if (!found->match.is_whole()) {
    throw DataError(path.string(), found->match.place,
                    found->match.problem + "; of the networks that are read from ONNX files, " +
                        nearest + " is the nearest");
  }
  SavedState state{{nearest, *embedding_size, {}}, {}, {}, {}};
  for (const auto& [name, constant] : found->match.constants)
    state.tensors.push_back(stream(name, *constant, found));
  return state;
}

}  // namespace pfc
