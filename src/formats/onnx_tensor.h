#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "formats/onnx_graph.h"
#include "pfc/base/files.h"

namespace pfc {

/// Reads the tensors of one ONNX file.
class OnnxTensors {
 public:
  /// `file` stands for the file in errors. Numbers in files beside it are looked for in `folder`;
  /// if that is empty, they are refused.
  OnnxTensors(std::string file, std::filesystem::path folder)
      : file_(std::move(file)), folder_(std::move(folder)) {}

  /// Floating-point numbers of any size, int32 or int64. The message loses its own copy of them.
  /// `name` stands for the tensor in errors. Throws DataError.
  OnnxGraph::Constant take(onnx::TensorProto& tensor, const std::string& name);
  /// How many values were taken.
  std::int64_t taken() const { return taken_; }

 private:
  /// The numbers of a tensor that lie in another file.
  std::string_view beside(const onnx::TensorProto& tensor, const std::string& place);

  std::string file_;
  std::filesystem::path folder_;
  std::map<std::string, MappedFile> beside_;
  std::int64_t taken_ = 0;
};

}  // namespace pfc
