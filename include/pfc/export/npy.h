#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "pfc/base/files.h"

namespace pfc {

/// A matrix [rows, columns] float32 in NumPy's format (`.npy`, version 1.0), written row by row.
/// The file appears, with its number of rows, on `commit`.
class NpyWriter {
 public:
  NpyWriter(std::filesystem::path path, std::int64_t columns);

  /// values [columns]
  void add_row(std::span<const float> values);
  void commit();

 private:
  AtomicFile file_;
  std::int64_t columns_;
  std::int64_t rows_ = 0;
};

}  // namespace pfc
