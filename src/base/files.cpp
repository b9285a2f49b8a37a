#include "pfc/base/files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <utility>

#include "base/follow_links.h"
#include "base/retry_io.h"
#include "base/temporary_file.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, std::string_view doing) {
  throw IoError(path, doing, errno);
}

/// A descriptor that is closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number() const { return number_; }
  /// Closes it now. Returns false if that fails, for example if a file server refuses what was
  /// written.
  bool close() { return ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_;
};

int open_to_read(const fs::path& path) {
  return retry_io([&] {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) fail(path, "open");
    return descriptor;
  });
}

/// Writes all of `bytes` with `write_some(bytes)`, a system call that writes some of them.
template <class WriteSome>
void write_all(std::span<const std::byte> bytes, const fs::path& path,
               const WriteSome& write_some) {
  while (!bytes.empty()) {
    const ssize_t written = write_some(bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      // The bytes belong to a mapped file that cannot be read. When this process reads them itself,
      // tell_file_faults can name that file.
      if (errno == EFAULT) static_cast<void>(*static_cast<const volatile std::byte*>(bytes.data()));
      fail(path, "write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

/// Whether a link belongs to /proc. Such a link leads to something open that may have no name.
bool in_proc(const fs::path& link) {
  struct statfs info {};
  const fs::path folder = link.has_parent_path() ? link.parent_path() : ".";
  return ::statfs(folder.c_str(), &info) == 0 && info.f_type == PROC_SUPER_MAGIC;
}

/// N of /dev/fd/N, which is a link into /proc. Opening it by name would write the file from its
/// start, over what standard output has already written.
std::optional<int> own_descriptor(const fs::path& link) {
  std::error_code none;
  if (!fs::equivalent(link.parent_path(), "/proc/self/fd", none)) return std::nullopt;
  const std::string name = link.filename().string();
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return number;
}

/// The target of a write: a regular file, existing or not, or something that is already open.
struct Destination {
  fs::path file;        ///< links followed
  int descriptor = -1;  ///< for anything that is not a regular file
};

Destination destination_of(const fs::path& path) {
  Destination to{follow_links(path)};
  struct stat info {};
  if (::lstat(to.file.c_str(), &info) != 0) {
    if (errno == ENOENT) return to;
    fail(path, "write");
  }
  if (S_ISREG(info.st_mode)) return to;
  const auto number = S_ISLNK(info.st_mode) ? own_descriptor(to.file) : std::nullopt;
  to.descriptor = number ? ::fcntl(*number, F_DUPFD_CLOEXEC, 0)
                         : ::open(to.file.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (to.descriptor < 0) fail(path, "write");
  return to;
}

/// Makes a rename durable: the folder's entry reaches the disk too.
void sync_folder_of(const fs::path& path) {
  fs::path folder = path.parent_path();
  if (folder.empty()) folder = ".";
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return;  // some file systems do not let a folder be opened; the rename still happened
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

fs::path follow_links(const fs::path& path) {
  constexpr int kMostLinks = 40;  // the kernel's limit
  fs::path last = path;
  for (int links = 0; links <= kMostLinks; ++links) {
    struct stat info {};
    if (::lstat(last.c_str(), &info) != 0) {
      if (errno == ENOENT) return last;
      fail(path, "write");
    }
    if (!S_ISLNK(info.st_mode) || in_proc(last)) return last;
    last = last.parent_path() / fs::read_symlink(last);
  }
  throw IoError(path, "write", ELOOP);
}

MappedFile::MappedFile(fs::path path) : path_(std::move(path)) {
  const Descriptor file(open_to_read(path_));
  struct stat info {};
  if (::fstat(file.number(), &info) != 0) fail(path_, "open");
  if (!S_ISREG(info.st_mode))
    throw Error(
        path_.string() +
        (S_ISDIR(info.st_mode)
             ? ": is a folder, want a file"
             : ": is a device or a pipe, want a file; write its content into a file first"));
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number(), 0);
  if (address == MAP_FAILED) fail(path_, "map into memory");
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void MappedFile::expect(Access access) const {
  if (bytes_.empty()) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(),
            access == Access::kSequential ? MADV_SEQUENTIAL : MADV_RANDOM);
}

void MappedFile::will_need(std::uint64_t begin, std::uint64_t end) const {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  begin -= begin % page;
  end = std::min<std::uint64_t>(end, bytes_.size());
  if (begin >= end) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()) + begin, end - begin, MADV_WILLNEED);
}

void MappedFile::forget() const {
  if (bytes_.empty()) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  Destination to = destination_of(path_);
  target_ = std::move(to.file);
  descriptor_ = to.descriptor;
  if (descriptor_ >= 0) {
    std::cout.flush();  // it may be standard output, whose earlier text must come first
    return;
  }
  const TemporaryFile made = create_temporary(target_);
  temporary_ = made.path;
  descriptor_ = made.descriptor;
  remove_left_over(target_.has_parent_path() ? target_.parent_path() : ".", made);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  ::close(descriptor_);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write_all(bytes, path_, [this](std::span<const std::byte> rest) {
    return ::write(descriptor_, rest.data(), rest.size());
  });
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void AtomicFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  write_all(bytes, path_, [&](std::span<const std::byte> rest) {
    const ssize_t written =
        ::pwrite(descriptor_, rest.data(), rest.size(), static_cast<off_t>(offset));
    if (written > 0) offset += static_cast<std::uint64_t>(written);
    return written;
  });
}

void AtomicFile::read_at(std::uint64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t found =
        ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (found < 0 && errno == EINTR) continue;
    if (found == 0) throw Error(path_.string() + ": ends before what was written to it");
    if (found < 0) fail(path_, "read back");
    offset += static_cast<std::uint64_t>(found);
    bytes = bytes.subspan(static_cast<std::size_t>(found));
  }
}

void AtomicFile::resize(std::uint64_t size) {
  if (::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) fail(path_, "resize");
}

void AtomicFile::commit() {
  Descriptor file(std::exchange(descriptor_, -1));
  const bool in_place = temporary_.empty();
  // Renamed before it is closed. Closing releases the lock, and a file with the temporary name and
  // no lock would count as left over.
  const bool written = in_place || (::fsync(file.number()) == 0 &&
                                    ::rename(temporary_.c_str(), target_.c_str()) == 0);
  if (!written) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    throw IoError(path_, "write", error);
  }
  if (!file.close()) fail(path_, "write");
  if (!in_place) sync_folder_of(target_);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail(from, "rename to " + to.string());
  sync_folder_of(to);
}

void write_file(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void write_in_place(const fs::path& path, std::span<const std::byte> bytes) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.number() < 0) fail(path, "create");
  write_all(bytes, path, [&](std::span<const std::byte> rest) {
    return ::write(file.number(), rest.data(), rest.size());
  });
  if (!file.close()) fail(path, "write");
}

namespace {

/// Reads a file into a container that has resize(size).
template <class Bytes>
void read_whole(const fs::path& path, Bytes& bytes) {
  constexpr std::size_t kPiece = std::size_t{64} << 10;
  retry_io([&] {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.number() < 0) fail(path, "open");
    struct stat info {};
    if (::fstat(file.number(), &info) != 0) fail(path, "open");
    // One byte more than the file has, so that its end is noticed. Pipes do not tell their size.
    bytes.resize(static_cast<std::size_t>(std::max<off_t>(info.st_size, 0)) + 1);
    std::size_t size = 0;
    for (;;) {
      if (size == bytes.size()) bytes.resize(size + std::max(size, kPiece));
      const ssize_t found = ::read(file.number(), bytes.data() + size, bytes.size() - size);
      if (found < 0 && errno == EINTR) continue;
      if (found < 0) fail(path, "read");
      if (found == 0) break;
      size += static_cast<std::size_t>(found);
    }
    bytes.resize(size);
  });
}

}  // namespace

std::string read_file(const fs::path& path) {
  std::string text;
  read_whole(path, text);
  return text;
}

void read_file(const fs::path& path, std::vector<std::byte>& bytes) {
  read_whole(path, bytes);
}

std::string expand_home(std::string path) {
  if (path != "~" && !path.starts_with("~/")) {
    if (path.starts_with('~') && path.find('/') != path.npos) {
      throw Error(path +
                  ": only ~/ is expanded to a home folder here; write the path in full, or ./" +
                  path + " if a folder has that name");
    }
    return path;
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0')
    throw Error(path + ": HOME is not set, so ~ has no meaning: write the path in full");
  return home + path.substr(1);
}

}  // namespace pfc
