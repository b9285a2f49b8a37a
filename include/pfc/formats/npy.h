#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "pfc/base/files.h"

namespace pfc {

/// Writes a matrix [rows, columns] or a vector [rows], float32, in NumPy's format (`.npy`, version
/// 1.0), row by row. The file appears, with its number of rows, on `commit`.
class NpyWriter {
 public:
  NpyWriter(std::filesystem::path path, std::int64_t columns);
  /// Of a vector.
  explicit NpyWriter(std::filesystem::path path);

  /// values [columns]; [1] of a vector
  void add_row(std::span<const float> values);
  void commit();

 private:
  std::string header() const;

  AtomicFile file_;
  std::optional<std::int64_t> columns_;  ///< of a matrix
  std::int64_t rows_ = 0;
};

/// A matrix in NumPy's format, versions 1 to 3, C order, little-endian: float32, or float64, which
/// is rounded.
class NpyMatrix {
 public:
  /// Throws Error if the file cannot be read, DataError if it is of another kind or shorter than
  /// its header says.
  explicit NpyMatrix(const std::filesystem::path& path);
  /// The same from memory that outlives it; `name` stands for the file in messages.
  NpyMatrix(std::span<const std::byte> bytes, const std::string& name);

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  /// Reads a row into values [columns].
  void read_row(std::int64_t row, std::span<float> values) const;
  /// Gives the pages that were read back to the system.
  void forget() const;

 private:
  void parse(std::span<const std::byte> bytes, const std::string& name);

  std::optional<MappedFile> file_;
  std::span<const std::byte> values_;
  std::int64_t rows_ = 0, columns_ = 0;
  bool double_ = false;
};

}  // namespace pfc
