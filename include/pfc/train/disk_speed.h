#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace pfc {

/// What a drive does with many requests under way, of pages of 4096 bytes at places that are not
/// neighbours, and of long runs.
struct DiskSpeed {
  double pages_read = 0;     ///< a second
  double pages_written = 0;  ///< a second, until they are durable
  double bytes_read = 0;     ///< a second, one after the other
  double bytes_written = 0;  ///< a second, one after the other, until they are durable
  std::string how;           ///< PageFile::how; empty if nothing was measured
};

/// What a plan takes for a drive that was not measured: a guess at a server's NVMe drive, far below
/// what makers print. No source stands behind it, so measure where it matters.
const DiskSpeed& assumed_disk();

/// Measures the drive of `folder` on a file of at most 1 GiB (and at most a quarter of what is
/// free), which is gone afterwards, also if the program is killed. Takes about four seconds. A
/// drive's own cache may flatter it: what it sustains for hours can be less. Throws Error if the
/// folder cannot be written or has less than 256 MiB free.
DiskSpeed measure_disk(const std::filesystem::path& folder);

}  // namespace pfc
