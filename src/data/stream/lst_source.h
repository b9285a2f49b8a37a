#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// Where a line of a `.lst` stands in it, and its label.
struct LstEntry {
  std::uint64_t path_begin = 0;
  std::uint32_t path_size = 0;
  std::int32_t identity = 0;
};

/// The lines `index \t label \t … \t path` of a `.lst`, in the order of labels and then of lines.
/// Empty lines count nowhere. Throws DataError with the line.
std::vector<LstEntry> parse_lst(std::span<const std::byte> text, const std::string& name);

}  // namespace pfc
