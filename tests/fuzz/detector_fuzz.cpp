#include <onnx/onnx_pb.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "align/detector_graph.h"
#include "pfc/base/error.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  for (const auto wanted : {std::optional<pfc::ImageSize>(), {{320, 640}}}) {
    try {
      const pfc::DetectorGraph graph = pfc::read_detector(file, "fuzz", wanted);
      const bool whole = graph.input.width > 0 && graph.input.height > 0 &&
                         graph.input.width % graph.largest_stride() == 0 &&
                         graph.input.height % graph.largest_stride() == 0 && !graph.onnx.empty();
      if (!whole) __builtin_trap();
    } catch (const pfc::Error&) {
    }
  }
  return 0;
}

/// Starts from a valid file: protobuf's parser is not instrumented, so the fuzzer would not find
/// one.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned) {
  static const std::string seed = [] {
    onnx::ModelProto model;
    model.set_ir_version(6);
    auto& input = *model.mutable_graph()->add_input();
    input.set_name("x");
    auto& type = *input.mutable_type()->mutable_tensor_type();
    for (const int extent : {1, 3, 0, 640}) type.mutable_shape()->add_dim()->set_dim_value(extent);
    for (int i = 0; i < 9; ++i) model.mutable_graph()->add_output()->set_name(std::to_string(i));
    return model.SerializeAsString();
  }();
  if (size < 8 && seed.size() <= limit) {
    std::memcpy(data, seed.data(), seed.size());
    size = seed.size();
  }
  return LLVMFuzzerMutate(data, size, limit);
}
