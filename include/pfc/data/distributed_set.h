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
  std::string md5;  ///< 32 lower-case hexadecimal digits; empty where it is not known
};

/// How a set is distributed: parts that joined give a tar, gzipped or not. Read from TOML:
///
///     name = "glint360k"
///     title = "Glint360K, first release"
///     [[part]]
///     name = "glint360k00"
///     md5 = "8b469dabd959b51f5ae63f1113fa9a7e"   # left out where it is not known
///     [[content]]
///     name = "train.rec"
struct DistributedSet {
  std::string name, title;
  std::vector<DistributedFile> parts;     ///< in the order in which they are joined
  std::vector<DistributedFile> contents;  ///< files that the tar must hold, in any folder
};

/// Throws DataError with the line.
DistributedSet parse_distributed_set(std::string_view text, const std::string& name);
/// Those of configs/datasets, which are built in.
const std::vector<DistributedSet>& known_distributed_sets();
/// The one that most files in `folder` are parts of. Throws Error, naming the known sets, where
/// there is none.
const DistributedSet& recognise_distributed_set(const std::filesystem::path& folder);

enum class PartState { kGood, kBad, kMissing, kUnknownSum };

struct CheckedPart {
  PartState state = PartState::kMissing;
  std::uint64_t bytes = 0;
  std::string md5;  ///< found
};

/// The md5 sums of a set's parts in `folder`, on `threads` threads. What was found is kept in
/// `folder`/checked.txt, with each file's size and time, so that a check that was interrupted goes
/// on; where the folder cannot be written nothing is kept. `progress` is told bytes, from several
/// threads but one at a time, and may throw to stop.
std::vector<CheckedPart> check_parts(
    const DistributedSet& set, const std::filesystem::path& folder, int threads,
    const std::function<void(std::int64_t done, std::int64_t total)>& progress);

/// Joins the parts and unpacks the tar into `out`, in one pass that stores nothing else, and
/// compares every sum that is known on the way, of the parts and of what is in them. `out` grows as
/// `OUT.partial` and gets its name when all is right. Throws Error where a part is missing or bad,
/// the disk too small, the tar cut short, an entry outside of `out`, or a file that must be there
/// is not.
void assemble(const DistributedSet& set, const std::filesystem::path& folder,
              const std::filesystem::path& out,
              const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace pfc
