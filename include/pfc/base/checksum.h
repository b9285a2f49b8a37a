#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace pfc {

/// What a file held when it was written: its size, and a checksum of each block. A part of the file
/// can be checked without the rest. This finds accidents (XXH3, 64 bits); it does not stop an
/// attacker.
struct Checksums {
  static constexpr std::uint64_t kBlockBytes = std::uint64_t{8} << 20;

  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> blocks;  ///< one for each kBlockBytes; the last block may be shorter

  bool operator==(const Checksums&) const = default;
};

/// Computes the checksums of bytes that arrive piece by piece.
class ChecksumBuilder {
 public:
  ChecksumBuilder();
  ~ChecksumBuilder();

  void add(std::span<const std::byte> bytes);
  /// The checksums of everything that was added. Call it once.
  Checksums finish();

 private:
  struct State;  // of the block that is not full yet
  std::unique_ptr<State> state_;
  Checksums sums_;
};

/// Reads a file and compares it with its checksums, block by block; needs the memory of one block.
/// Throws DataError, naming the file, if it is shorter, longer or altered; IoError if it cannot be
/// read; Error if it is missing.
class CheckedFile {
 public:
  CheckedFile(std::filesystem::path path, Checksums sums);
  ~CheckedFile();
  CheckedFile(CheckedFile&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  /// Reads the bytes that begin at `offset`. Throws DataError if the file ends too early.
  void read(std::uint64_t offset, std::span<std::byte> out);
  /// Checks the whole file.
  void verify();

 private:
  void load(std::uint64_t block);

  std::filesystem::path path_;
  Checksums sums_;
  int descriptor_ = -1;
  std::vector<std::byte> buffer_;  ///< the block that was read last
  std::uint64_t loaded_ = UINT64_MAX;
};

}  // namespace pfc
