#pragma once

#include <filesystem>
#include <string_view>

#include "model/state_dict.h"

namespace pfc {

/// Reads an ONNX file of one of the convolutional networks that are built in, whichever exporter
/// wrote it. Throws DataError, with the first node that is another than in the nearest network, if
/// it is none of them.
SavedState read_onnx_network(const std::filesystem::path& path);

}  // namespace pfc
