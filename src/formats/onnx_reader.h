#pragma once

#include <cstddef>  // for std::byte
#include <filesystem>
#include <span>
#include <string_view>

#include "formats/onnx_graph.h"

namespace pfc {

/// Reads a network of one input and one output; `name` stands for the file in errors. Exporters
/// write one network in several ways, of which one remains here:
/// - Identity, Dropout and Cast are gone, Constant nodes are constants, and what only changes a
///   constant's shape is done;
/// - Gemm, MatMul and a following Add of a constant are a Gemm; a convolution's Add is its bias;
/// - Flatten, and a Reshape to rows, are a Flatten;
/// - Conv and BatchNormalization have all their attributes, and a PRelu has a slope for each
/// channel
///   as [channels].
///
/// Other nodes stay as they are, with the attributes that OnnxGraph has. What the output does not
/// need is left out. Extents of the input that the file leaves open are -1.
///
/// Some exporters write the numbers into a second file; it is looked for in `folder`. If that is
/// empty, such files are refused. Throws DataError.
OnnxGraph decode_onnx(std::span<const std::byte> file, std::string_view name,
                      const std::filesystem::path& folder = {});

}  // namespace pfc
