#pragma once

#include <cstddef>  // for std::byte
#include <span>
#include <string_view>
#include <vector>

#include "base/pickle.h"
#include "formats/torch_pickle.h"

namespace pfc {

/// Reads the format that torch.save wrote before 1.6: five pickles (a magic number, a version, the
/// machine, the saved value, the keys of the storages), then the storages, each preceded by its
/// number of elements. `bytes` must outlive the result. `storages` receives the storages of the
/// dialect. Throws DataError if the file is damaged, or if its machine was big-endian.
pickle::Document read_before_1_6(std::string_view file, std::span<const std::byte> bytes,
                                 TorchDialect& dialect,
                                 std::vector<std::span<const std::byte>>& storages);

}  // namespace pfc
