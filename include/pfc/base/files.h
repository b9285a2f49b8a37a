#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// How mapped bytes will be read. The kernel chooses its read-ahead by it.
enum class Access { kSequential, kRandom };

/// A file mapped read-only into memory. Throws IoError when it cannot be opened or mapped. If a
/// page cannot be read later, the system sends SIGBUS; `tell_file_faults` (program.h) turns that
/// into a sentence.
class MappedFile {
 public:
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  /// A hint to the kernel. Without kRandom, reading a few kilobytes here and there from a file
  /// larger than memory costs a full read-ahead each time.
  void expect(Access access) const;
  /// A hint: the bytes from `begin` to `end` will be read soon.
  void will_need(std::uint64_t begin, std::uint64_t end) const;
  /// Gives the pages that were read back to the system. They stay readable.
  void forget() const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

/// A file that appears whole or not at all. Bytes go to a temporary file in the same folder;
/// `commit` syncs it and renames it to `path`. Without `commit` nothing is left behind. Temporary
/// files that killed programs left in the folder are removed first, to make room.
///
/// A link is followed: the file it points to is replaced, and the link stays. If `path` is a
/// device, a pipe or a descriptor such as /dev/stdout, bytes are written straight into it. Every
/// failure throws IoError.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Writes at `offset`, for a header that is known last. The next `write` continues where the last
  /// one ended.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// Reads back what was written at `offset`, as many bytes as `bytes` has.
  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const;
  void resize(std::uint64_t size);
  void commit();

 private:
  std::filesystem::path path_;       ///< as it was given
  std::filesystem::path target_;     ///< where `path` leads after links are followed
  std::filesystem::path temporary_;  ///< empty if bytes go straight into the target
  int descriptor_ = -1;
};

/// Renames a file or a folder and makes the rename durable. Throws Error if it cannot.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// Writes `text` to a file that appears whole or not at all.
void write_file(const std::filesystem::path& path, std::string_view text);
/// Writes a file in place, without syncing it. For folders of very many files, where the folder is
/// synced as a whole and gets its final name at the end.
void write_in_place(const std::filesystem::path& path, std::span<const std::byte> bytes);
/// Reads a whole file. Errors that may pass (a server that was away, too many open files) are
/// retried for a second; then IoError is thrown.
std::string read_file(const std::filesystem::path& path);
/// The same into `bytes`.
void read_file(const std::filesystem::path& path, std::vector<std::byte>& bytes);

/// Turns "~/x" into a path below the home folder and leaves everything else as it is. A shell
/// expands "~" only at the start of a word, and nobody wants a folder named "~". Throws Error if
/// HOME is not set, and for "~bob/x" (another user's home), which would create a folder "~bob".
std::string expand_home(std::string path);

}  // namespace pfc
