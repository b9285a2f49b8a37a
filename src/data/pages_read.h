#pragma once

#include <cstdint>

#include "pfc/data/record_io.h"

namespace pfc {

/// Gives the pages of a mapped file back each time so many of its bytes have been read, so that
/// going over a large file does not fill the process's memory.
class PagesRead {
 public:
  /// `rec` must outlive it.
  explicit PagesRead(const RecordReader& rec) : rec_(rec) {}

  void read(std::uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ < kKept) return;
    rec_.forget();
    bytes_ = 0;
  }

 private:
  static constexpr std::uint64_t kKept = std::uint64_t{64} << 20;

  const RecordReader& rec_;
  std::uint64_t bytes_ = 0;  // since the last time
};

}  // namespace pfc
