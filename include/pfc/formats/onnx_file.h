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

/// An input or output tensor of an ONNX graph.
struct OnnxPort {
  std::string name;
  /// The extents as the file gives them: numbers, names of open extents (`N`), or `?` if it gives
  /// none.
  std::vector<std::string> shape;
};

/// A summary of an ONNX file.
struct OnnxSummary {
  std::string network;   ///< the graph's name
  std::string producer;  ///< with its version
  std::int64_t ir_version = 0;
  std::int64_t opset = 0;        ///< version of ONNX's own operator set; 0 if the file names none
  std::vector<OnnxPort> inputs;  ///< without the constants that old files list as inputs
  std::vector<OnnxPort> outputs;
  std::map<std::string, std::int64_t> operators;  ///< how many nodes each operator has
  std::int64_t nodes = 0;
  std::int64_t parameters = 0;  ///< values in all constants
  std::int64_t bytes = 0;       ///< of the file
};

/// Parses `file`; `name` stands for it in messages. Throws DataError if it is not an ONNX model, or
/// if a constant has an impossible shape.
OnnxSummary parse_onnx(std::span<const std::byte> file, std::string_view name);
/// Throws what parse_onnx throws, and Error if the file cannot be opened.
OnnxSummary read_onnx(const std::filesystem::path& path);

}  // namespace pfc
