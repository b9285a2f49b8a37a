#pragma once

#include <cstddef>  // for std::byte
#include <span>
#include <string_view>
#include <vector>

#include "base/pickle.h"
#include "formats/torch_pickle.h"

namespace pfc {

/// Reads torch.save's format of before 1.6: five pickles (a magic number, a version, the machine it
/// is of, what was saved, the storages' keys), behind them the storages, each with the number of
/// its elements first. `bytes` must outlive the result. `storages` become those of the dialect.
/// Throws DataError where it is damaged, or of a machine whose numbers are big-endian.
pickle::Document read_before_1_6(std::string_view file, std::span<const std::byte> bytes,
                                 TorchDialect& dialect,
                                 std::vector<std::span<const std::byte>>& storages);

}  // namespace pfc
