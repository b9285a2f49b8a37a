#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace pfc {

/// A pair of a verification set whose images are still in files.
struct ImagePair {
  std::string first, second;  ///< paths below a root; LFW's list leaves out the file's ending
  bool same = false;
  std::int64_t line = 0;  ///< of the list
};

/// Reads a list of pairs, in one of these forms:
/// - LFW's `pairs.txt`. The first line has the number of folds and the number of pairs of each kind
///   in a fold, or only the latter for one fold. Then each fold has that many lines `NAME I J` (one
///   person) and that many `NAME1 I NAME2 J` (two people). NAME I is the file `NAME/NAME_000I`;
/// - such lines without the first one, in any order;
/// - a line `PATH1 PATH2 SAME` or `SAME PATH1 PATH2` for each pair. SAME is 1 or True, or 0, -1 or
///   False;
/// - CALFW's and CPLFW's: a line `PATH SAME` for each image of a pair. SAME is 0 for two people.
///
/// Fields are separated by tabs, commas or spaces. A list with commas or tabs may begin with a line
/// of column names. Throws DataError with the line.
std::vector<ImagePair> parse_pairs(std::span<const std::byte> text, const std::string& name);

/// Packs the listed pairs into a verification set (see verification_set.h). For a path without an
/// ending, the endings of images are tried. `progress` is called for each pair. If images are
/// missing, throws Error before anything is written, with their number and the lines of the first
/// ones.
void pack_pairs(const std::filesystem::path& list, const std::filesystem::path& root,
                const std::filesystem::path& out,
                const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace pfc
