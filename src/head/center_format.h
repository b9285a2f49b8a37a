#pragma once

#include <string>

#include "pfc/base/format.h"
#include "pfc/export/safetensors.h"
#include "pfc/head/class_shard.h"

namespace pfc {

// How class centres lie in `.safetensors` files: a file a rank, the tensor `centers` [rows, dim].

/// What a rank's centres are called: centers-00001-of-00004.safetensors is rank 0's of 4.
inline std::string center_file_name(int rank, int world) {
  return format("centers-%05d-of-%05d.safetensors", rank + 1, world);
}

constexpr const char* kCenterFormat = "partial-fc centers 1";

/// What the file's metadata say: the range of global classes.
inline Metadata center_metadata(const ClassShard& shard) {
  return {{"format", kCenterFormat},
          {"classes", std::to_string(shard.classes())},
          {"first_class", std::to_string(shard.begin().v)}};
}

}  // namespace pfc
