#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "formats/onnx_graph.h"
#include "pfc/base/error.h"
#include "pfc/formats/onnx_file.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    pfc::parse_onnx(std::as_bytes(std::span(data, size)), "fuzz");
  } catch (const pfc::Error&) {
  }
  return 0;
}

/// Starts from a valid file: protobuf's parser is not instrumented, so the fuzzer would not find
/// one.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned) {
  static const std::string seed = [] {
    pfc::OnnxGraph graph;
    graph.network = "net";
    graph.input = {"data", {3, 112, 112}};
    graph.output = {"embedding", {2}};
    graph.nodes = {{.op = "Gemm",
                    .inputs = {"data", "fc.weight"},
                    .output = "embedding",
                    .attributes = {{"transB", std::int64_t{1}}}}};
    graph.constants["fc.weight"] = {{2, 1}, {1, 2}};
    return encode_onnx(graph);
  }();
  if (size < 8 && seed.size() <= limit) {
    std::memcpy(data, seed.data(), seed.size());
    size = seed.size();
  }
  return LLVMFuzzerMutate(data, size, limit);
}
