#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// Where a line of an image list has its path and its label.
struct LstEntry {
  std::uint64_t path_begin = 0;
  std::uint32_t path_size = 0;
  std::int32_t identity = 0;
  std::int64_t line = 0;
};

struct Lst {
  std::vector<LstEntry> entries;  ///< in the order of labels and then of lines
  std::string header;             ///< the line of column names; empty if there is none
};

/// A list of images, one a line, in one of the forms that common tools write. The first line tells
/// which:
/// - `index label … path`, im2rec's `.lst`;
/// - `1 path label …`, InsightFace's: 1 says that the image is aligned; 0 is refused;
/// - `path label`, written by PLSC and many others.
///
/// Columns are separated by tabs, commas or spaces. Empty lines are skipped. Throws DataError with
/// the line.
Lst parse_lst(std::span<const std::byte> text, const std::string& name);

}  // namespace pfc
