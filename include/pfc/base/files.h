#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// How mapped bytes will be read, for the kernel's read-ahead.
enum class Access { kSequential, kRandom };

/// A file mapped read-only into memory. Throws IoError when it cannot be opened or mapped. A page
/// that cannot be read later is a SIGBUS, of which `tell_file_faults` (program.h) makes a sentence.
class MappedFile {
 public:
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }
  const std::filesystem::path& path() const { return path_; }
  /// A hint: reading a few kilobytes here and there of a file larger than memory otherwise costs a
  /// read-ahead each.
  void expect(Access access) const;
  /// A hint: the bytes from `begin` to `end` will be read soon.
  void will_need(std::uint64_t begin, std::uint64_t end) const;
  /// Takes what was read out of this process's memory; it stays readable.
  void forget() const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

/// A file that appears whole or not at all: bytes go to a temporary file in the same folder, which
/// `commit` syncs and renames over `path`. Without `commit` nothing is left behind; what killed
/// programs left behind in the folder is removed first, so that there is room. Links are followed:
/// the file that they lead to is replaced, and they stay. What is there and is no regular file (a
/// device, a pipe, a descriptor such as /dev/stdout) is written into, as the bytes come. Every
/// failure throws IoError.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// At a place of its own, for a header that is known last; `write` goes on where it was.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  /// What was written there, as many bytes as `bytes` has.
  void read_at(std::uint64_t offset, std::span<std::byte> bytes) const;
  void resize(std::uint64_t size);
  void commit();

 private:
  std::filesystem::path path_;       ///< as it was given
  std::filesystem::path target_;     ///< that it leads to
  std::filesystem::path temporary_;  ///< empty where the target is written into
  int descriptor_ = -1;
};

/// Renames a file or a folder, durably. Throws Error where it cannot.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// Writes `text` to a file that appears whole or not at all.
void write_file(const std::filesystem::path& path, std::string_view text);
/// Writes a file in place and does not sync it: one of very many, in a folder that is synced as a
/// whole and gets its name at the end.
void write_in_place(const std::filesystem::path& path, std::span<const std::byte> bytes);
/// The whole of a file. What may pass (a server that was away, too many open files) is tried again
/// for a second; then IoError is thrown.
std::string read_file(const std::filesystem::path& path);
/// The same into `bytes`.
void read_file(const std::filesystem::path& path, std::vector<std::byte>& bytes);

/// "~/x" as a path below the home folder, everything else as it is: shells do so only where it
/// begins a word, and nobody wants a folder that is called "~". Throws Error where there is no
/// HOME, and for "~bob/x", the home folder of another, which would become a folder "~bob".
std::string expand_home(std::string path);

}  // namespace pfc
