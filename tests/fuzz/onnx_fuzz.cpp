#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "formats/onnx_graph.h"
#include "formats/onnx_match.h"
#include "formats/onnx_reader.h"
#include "pfc/base/error.h"
#include "pfc/formats/onnx_file.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

namespace {

using Ints = std::vector<std::int64_t>;

/// A convolution with its normalisation and slopes, the sum with the pixels, and a linear layer.
pfc::OnnxGraph small_network() {
  pfc::OnnxGraph graph;
  graph.network = "net";
  graph.input = {"data", {3, 1, 1}};
  graph.output = {"embedding", {2}};
  graph.nodes = {
      {.op = "Conv",
       .inputs = {"data", "conv.weight"},
       .output = "0",
       .attributes = {{"kernel_shape", Ints{1, 1}},
                      {"strides", Ints{1, 1}},
                      {"pads", Ints{0, 0, 0, 0}},
                      {"dilations", Ints{1, 1}},
                      {"group", std::int64_t{1}}}},
      {.op = "BatchNormalization",
       .inputs = {"0", "norm.weight", "norm.bias", "norm.mean", "norm.var"},
       .output = "1",
       .attributes = {{"epsilon", 1e-5f}}},
      {.op = "PRelu", .inputs = {"1", "slope"}, .output = "2"},
      {.op = "Add", .inputs = {"2", "data"}, .output = "3"},
      {.op = "Flatten", .inputs = {"3"}, .output = "4", .attributes = {{"axis", std::int64_t{1}}}},
      {.op = "Gemm",
       .inputs = {"4", "fc.weight"},
       .output = "embedding",
       .attributes = {{"transB", std::int64_t{1}}}}};
  graph.constants["conv.weight"] = {{3, 3, 1, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  for (const char* name : {"norm.weight", "norm.bias", "norm.mean", "norm.var", "slope"})
    graph.constants[name] = {{3}, {1, 2, 3}};
  graph.constants["fc.weight"] = {{2, 3}, {1, 2, 3, 4, 5, 6}};
  return graph;
}

/// The same as another exporter might write it.
pfc::OnnxGraph other_form() {
  pfc::OnnxGraph graph = small_network();
  fold_batch_norms(graph);
  for (auto& node : graph.nodes) {
    if (node.op == "Gemm") node = {.op = "MatMul", .inputs = {"4", "turned"}, .output = "5"};
    if (node.op == "Flatten") node = {.op = "Reshape", .inputs = {"3", "shape"}, .output = "4"};
  }
  graph.nodes.push_back({.op = "Add", .inputs = {"5", "fc.bias"}, .output = "6"});
  graph.nodes.push_back({.op = "Identity", .inputs = {"6"}, .output = "embedding"});
  graph.constants.erase("fc.weight");
  graph.constants["turned"] = {{3, 2}, {1, 4, 2, 5, 3, 6}};
  graph.constants["fc.bias"] = {{2}, {1, 2}};
  graph.constants["shape"] = {{2}, {-1, 3}, pfc::OnnxGraph::Type::kInt64};
  normalize_input(graph);
  return graph;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    pfc::parse_onnx(file, "fuzz");
  } catch (const pfc::Error&) {
  }
  try {
    static const pfc::OnnxGraph network = small_network();
    const pfc::OnnxGraph graph = pfc::decode_onnx(file, "fuzz");
    const pfc::OnnxMatch match = pfc::match_onnx(graph, network);
    if (!match.is_whole()) return 0;
    for (const auto& [name, constant] : network.constants)
      if (match.constants.at(name)->values.size() != constant.values.size()) __builtin_trap();
  } catch (const pfc::Error&) {
  }
  return 0;
}

/// Starts from valid files: protobuf's parser is not instrumented, so the fuzzer would not find
/// one.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned random) {
  static const std::string seeds[] = {encode_onnx(small_network()), encode_onnx(other_form())};
  const std::string& seed = seeds[random % 2];
  if (size < 8 && seed.size() <= limit) {
    std::memcpy(data, seed.data(), seed.size());
    size = seed.size();
  }
  return LLVMFuzzerMutate(data, size, limit);
}
