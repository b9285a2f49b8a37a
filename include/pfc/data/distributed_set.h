#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// A file of a distributed set.
struct DistributedFile {
  std::string name;
  std::string md5;  ///< 32 lower-case hexadecimal digits; empty if unknown
};

/// How a set is distributed: parts that, joined, give a tar (gzipped or not). Read from TOML:
///
///     name = "glint360k"
///     title = "Glint360K, first release"
///     [[part]]
///     name = "glint360k00"
///     md5 = "8b469dabd959b51f5ae63f1113fa9a7e"   # left out if unknown
///     [[content]]
///     name = "train.rec"
struct DistributedSet {
  std::string name, title;
  std::vector<DistributedFile> parts;     ///< in the order in which they are joined
  std::vector<DistributedFile> contents;  ///< files that the tar must hold, in any folder
};

/// Throws DataError with the line.
DistributedSet parse_distributed_set(std::string_view text, const std::string& name);
/// The sets of configs/datasets, which are built in.
const std::vector<DistributedSet>& known_distributed_sets();
/// The known set that most files in `folder` are parts of. Throws Error, naming the known sets, if
/// there is none.
const DistributedSet& recognise_distributed_set(const std::filesystem::path& folder);

enum class PartState { kGood, kBad, kMissing, kUnknownSum };

struct CheckedPart {
  PartState state = PartState::kMissing;
  std::uint64_t bytes = 0;
  std::string md5;  ///< as computed
};

/// Computes the md5 sums of a set's parts in `folder`, on `threads` threads. Results are kept in
/// `folder`/checked.txt with each file's size and time, so that an interrupted check continues
/// where it stopped; if the folder cannot be written, nothing is kept. `progress` gets bytes; it is
/// called from several threads, but never from two at once, and may throw to stop.
std::vector<CheckedPart> check_parts(
    const DistributedSet& set, const std::filesystem::path& folder, int threads,
    const std::function<void(std::int64_t done, std::int64_t total)>& progress);

/// Joins the parts and unpacks the tar into `out` in one pass, without storing anything else.
/// Compares every known sum on the way, those of the parts and those of the files inside. `out`
/// grows as `OUT.partial` and gets its name when everything is right. Throws Error if a part is
/// missing or bad, the disk is too small, the tar is cut short, an entry lies outside `out`, or a
/// required file is missing.
void assemble(const DistributedSet& set, const std::filesystem::path& folder,
              const std::filesystem::path& out,
              const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace pfc
