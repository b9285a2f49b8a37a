#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace pfc {

/// What a file held when it was written: its size, and a checksum of each block, so that a part of
/// it can be checked alone. Against accidents (XXH3, 64 bits), not against malice.
struct Checksums {
  static constexpr std::uint64_t kBlockBytes = std::uint64_t{8} << 20;

  std::uint64_t bytes = 0;
  std::vector<std::uint64_t> blocks;  ///< of kBlockBytes each, the last one of what is left

  bool operator==(const Checksums&) const = default;
};

/// The checksums of bytes that come one after another.
class ChecksumBuilder {
 public:
  ChecksumBuilder();
  ~ChecksumBuilder();

  void add(std::span<const std::byte> bytes);
  /// Of all that was added; only once.
  Checksums finish();

 private:
  struct State;  // of the block that is not full yet
  std::unique_ptr<State> state_;
  Checksums sums_;
};

/// A file that is compared with its checksums where it is read, in blocks: reading takes one block
/// of memory. Throws DataError, naming the file, where it is shorter, longer or altered, IoError
/// where it cannot be read, and Error where it is missing.
class CheckedFile {
 public:
  CheckedFile(std::filesystem::path path, Checksums sums);
  ~CheckedFile();
  CheckedFile(CheckedFile&&) noexcept;

  const std::filesystem::path& path() const { return path_; }
  /// The bytes from `offset` on. Throws DataError where the file ends before.
  void read(std::uint64_t offset, std::span<std::byte> out);
  /// Checks everything.
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
