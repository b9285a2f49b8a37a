#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace pfc {

/// What a disk reads and writes at once: transfers and memory are multiples of it.
constexpr std::int64_t kPageBytes = 4096;

struct FreePages {
  void operator()(std::byte* memory) const;
};
using Pages = std::unique_ptr<std::byte[], FreePages>;
/// Memory for transfers: `bytes` rounded up to pages, not initialised. Throws std::bad_alloc.
Pages aligned_pages(std::int64_t bytes);

/// Bytes of a file and where they are in memory. All three are multiples of kPageBytes.
struct PageTransfer {
  std::int64_t offset;
  std::byte* memory;
  std::int64_t bytes;
};

/// A file of pages that are read and written where they are, past the page cache: a table that is
/// larger than memory gains nothing from the cache and would push out all else.
///
/// Many transfers are under way at once, for a drive reaches its rate only so. They go through an
/// io_uring; where that is not permitted, as in many containers, threads make plain calls. Where
/// the file system knows no O_DIRECT, the page cache is used. `how` says which it is.
///
/// One object for each thread; several may have the same file open.
class PageFile {
 public:
  enum class Access { kRead, kReadWrite };
  struct Options {
    bool ring = true;       ///< false: plain calls, as where io_uring is not permitted
    bool direct = true;     ///< false: by the page cache, as where there is no O_DIRECT
    int queue_depth = 128;  ///< requests under way at once in the ring, at least 1
  };

  /// Makes a file of `bytes`, a multiple of kPageBytes. Its room is reserved, so that no later
  /// write finds the disk full. Throws Error, which names the bytes that are missing, and leaves
  /// nothing behind; also if there is such a file, for it may be a table of days of training.
  static void create(const std::filesystem::path& path, std::int64_t bytes);

  /// Throws IoError, or Error if it is no file or was cut within a page.
  PageFile(std::filesystem::path path, Access access);
  PageFile(std::filesystem::path path, Access access, const Options& options);
  ~PageFile();
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;

  /// Reads all transfers, in any order, and returns when they are done. Transfers that follow each
  /// other in the list and in the file are read at once, so sort them by offset. Throws IoError or
  /// Error, which name the file and the place; then the memory holds anything, but nothing more is
  /// written to it.
  void read(std::span<const PageTransfer> transfers);
  /// Writes alike. Transfers must not overlap: which of them stays would be chance. After an error
  /// some may have been written. What is written survives a power cut only after `sync`.
  void write(std::span<const PageTransfer> transfers);
  void sync();

  /// Its size when it was opened.
  std::int64_t bytes() const { return bytes_; }
  /// "io_uring, past the page cache" or what took its place.
  std::string how() const;

 private:
  enum class Direction { kRead, kWrite };
  class Ring;
  struct Requests;

  void open(bool direct);
  void transfer(Direction direction, std::span<const PageTransfer> transfers);
  Requests merged(Direction direction, std::span<const PageTransfer> transfers) const;
  void by_ring(Direction direction, Requests& requests);
  void by_threads(Direction direction, Requests& requests);

  std::filesystem::path path_;
  Access access_;
  int descriptor_ = -1;
  bool direct_ = false;
  std::int64_t bytes_ = 0;
  std::unique_ptr<Ring> ring_;  ///< null: plain calls
};

}  // namespace pfc
