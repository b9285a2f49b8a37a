#pragma once

#include <onnx/onnx_pb.h>

#include <cstddef>  // for std::byte
#include <span>
#include <string_view>

namespace pfc {

/// The message of an ONNX file; `name` stands for the file in errors. Throws DataError if it is not
/// one.
onnx::ModelProto parse_model(std::span<const std::byte> file, std::string_view name);

}  // namespace pfc
