#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// A tensor that goes into an ONNX graph or comes out of it.
struct OnnxPort {
  std::string name;
  /// As the file gives the extents: numbers, names of what is open (`N`), `?` where it gives none.
  std::vector<std::string> shape;
};

/// What an ONNX file says of its graph.
struct OnnxSummary {
  std::string network;   ///< the graph's name
  std::string producer;  ///< with its version
  std::int64_t ir_version = 0;
  std::int64_t opset = 0;        ///< of ONNX's own operators; 0 where the file names none
  std::vector<OnnxPort> inputs;  ///< without the constants that old files list among them
  std::vector<OnnxPort> outputs;
  std::map<std::string, std::int64_t> operators;  ///< nodes of each operator
  std::int64_t nodes = 0;
  std::int64_t parameters = 0;  ///< values in all constants
  std::int64_t bytes = 0;       ///< of the file
};

/// Reads `file`, whose name in messages is `name`. Throws DataError where it is no ONNX model, or a
/// constant has an impossible shape.
OnnxSummary parse_onnx(std::span<const std::byte> file, std::string_view name);
/// Throws what parse_onnx throws, and Error where the file cannot be opened.
OnnxSummary read_onnx(const std::filesystem::path& path);

}  // namespace pfc
