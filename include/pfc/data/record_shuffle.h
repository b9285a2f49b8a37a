#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace pfc {

struct RecordShuffleOptions {
  std::filesystem::path from, to;  ///< `.rec` files; the new one's folder is made
  std::uint64_t seed = 0;
  /// About how much of the file is in memory at a time, and as much again for writing.
  std::uint64_t memory_bytes = std::uint64_t{64} << 20;
  /// Bytes done of those to do; may throw to stop.
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

/// Writes the records of a `.rec` in random order, every order equally likely, byte for byte, with
/// an `.idx` and a copy of `property`. Keys stay what they were, so labels and identity records
/// stay right, and what reads the new file from its start to its end meets its images in random
/// order.
///
/// The records are dealt at random into parts of about `memory_bytes`, each part is then mixed in
/// memory and written where it is to stay (Sandelius, "A simple randomization procedure", 1962):
/// two passes of long reads and writes, and no room on the disk but the new file's. Memory: 24
/// bytes a record besides. Nothing stands under a final name before all is done. Returns the number
/// of records. Throws DataError where the files are not consistent.
std::int64_t shuffle_records(const RecordShuffleOptions& options);

}  // namespace pfc
