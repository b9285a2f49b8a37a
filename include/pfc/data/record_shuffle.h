#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace pfc {

struct RecordShuffleOptions {
  std::filesystem::path from, to;  ///< `.rec` files; the folder of the new one is created
  std::uint64_t seed = 0;
  /// Roughly how much of the file is in memory at a time. Writing needs as much again.
  std::uint64_t memory_bytes = std::uint64_t{64} << 20;
  /// Gets the bytes done and the bytes in all; may throw to stop.
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

/// Writes the records of a `.rec` in random order, byte for byte, with an `.idx` and a copy of
/// `property`. Every order is equally likely. Keys do not change, so labels and identity records
/// stay right. Reading the new file from start to end gives its images in random order.
///
/// The records are distributed at random over parts of about `memory_bytes`; then each part is
/// mixed in memory and written to its final place (Sandelius, "A simple randomization procedure",
/// 1962). This takes two passes of long reads and writes, and no disk space beyond the new file. It
/// needs another 24 bytes of memory for each record. Nothing appears under its final name before
/// all is done. Returns the number of records. Throws DataError if the files are not consistent.
std::int64_t shuffle_records(const RecordShuffleOptions& options);

}  // namespace pfc
