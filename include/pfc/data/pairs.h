#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace pfc {

/// A pair of a verification set that is still in files.
struct ImagePair {
  std::string first, second;  ///< paths below a root, those of LFW's list without their ending
  bool same = false;
  std::int64_t line = 0;  ///< of the list
};

/// A list of pairs, in one of the forms of the field:
/// - LFW's `pairs.txt`: a line with the number of folds and of pairs of each kind in a fold, or the
///   latter alone for one fold; then, fold after fold, that many lines `NAME I J` (one person) and
///   that many `NAME1 I NAME2 J` (two), where NAME I is the file `NAME/NAME_000I`;
/// - such lines without the first one, in any order;
/// - a line `PATH1 PATH2 SAME` or `SAME PATH1 PATH2` for each, SAME 1 or True, 0, -1 or False;
/// - CALFW's and CPLFW's: a line `PATH SAME` for each image of a pair, SAME 0 for two people.
/// Fields are separated by tabs, commas or spaces; before lines with commas or tabs the columns'
/// names may stand. Throws DataError with the line.
std::vector<ImagePair> parse_pairs(std::span<const std::byte> text, const std::string& name);

/// Packs the listed pairs into a verification set (see verification_set.h); an image's endings are
/// tried for a path without one. `progress` is told of each pair. Throws Error that counts the
/// images that are not there, with the lines of the first, before it writes anything.
void pack_pairs(const std::filesystem::path& list, const std::filesystem::path& root,
                const std::filesystem::path& out,
                const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace pfc
