#include "base/page_file.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// Larger requests are divided: the system would do so too, and several are faster than one.
constexpr std::int64_t kLargestRequest = std::int64_t{1} << 20;
/// Plain calls under way at once where there is no ring.
constexpr int kThreads = 16;

constexpr std::align_val_t kAlignment{static_cast<std::size_t>(kPageBytes)};

bool is_whole(std::int64_t bytes) {
  return bytes >= 0 && bytes % kPageBytes == 0;
}

[[noreturn]] void no_room(const fs::path& path, std::int64_t wanted, std::int64_t free) {
  throw Error(path.string() + ": no room on the disk for " + size_text(wanted) + ": " +
              size_text(free) + " are free, " + grouped(std::max<std::int64_t>(wanted - free, 1)) +
              " bytes are missing");
}

std::int64_t free_bytes(const fs::path& path, int descriptor) {
  struct statvfs disk {};
  if (::fstatvfs(descriptor, &disk) != 0)
    throw IoError(path, "ask for the room of its disk", errno);
  return static_cast<std::int64_t>(disk.f_bavail) * static_cast<std::int64_t>(disk.f_frsize);
}

/// Reserves room; `size` is all of the file.
void reserve(const fs::path& path, int descriptor, std::int64_t size) {
  const std::int64_t free = free_bytes(path, descriptor);
  // Asked first: to try would fill the disk for a moment, and other programs would fail.
  if (size > free) no_room(path, size, free);
  if (size == 0) return;
  int error = EINTR;
  while (error == EINTR) error = ::posix_fallocate(descriptor, 0, size);
  if (error == ENOSPC) {
    static_cast<void>(::ftruncate(descriptor, 0));  // what it reserved does not count as missing
    no_room(path, size, free_bytes(path, descriptor));
  }
  if (error != 0) throw IoError(path, "reserve " + size_text(size), error);
  if (::fsync(descriptor) != 0) throw IoError(path, "create", errno);
}

}  // namespace

/// A request that goes to the system as a whole: one place of the file, and memory that may be
/// scattered.
struct PageRequest {
  std::int64_t offset;
  std::int64_t bytes;  ///< those left
  std::size_t first;   ///< in `pieces`
  std::size_t count;
};

struct PageFailure {
  std::int64_t offset;
  std::int64_t bytes;
  int error;  ///< errno; 0: the file ends there
};

void FreePages::operator()(std::byte* memory) const {
  ::operator delete[](memory, kAlignment);
}

Pages aligned_pages(std::int64_t bytes) {
  const std::int64_t whole = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  return Pages(
      static_cast<std::byte*>(::operator new[](static_cast<std::size_t>(whole), kAlignment)));
}

struct PageFile::Requests {
  std::vector<PageRequest> list;
  std::vector<iovec> pieces;

  /// Takes a result of the system into account. True: the request is done.
  /// Throws nothing: others may be under way, into the caller's memory.
  bool finish(PageRequest& request, std::int64_t result, std::optional<PageFailure>& failure) {
    if (result == -EINTR || result == -EAGAIN) return false;
    // Whole pages count. What a signal or a full queue cut within one is done again.
    std::int64_t done = result < 0 ? 0 : result / kPageBytes * kPageBytes;
    if (done == 0) {
      if (!failure)
        failure =
            PageFailure{request.offset, request.bytes, result < 0 ? static_cast<int>(-result) : 0};
      return true;
    }
    request.offset += done;
    request.bytes -= done;
    while (request.count > 0 && done > 0) {
      iovec& piece = pieces[request.first];
      const auto part = std::min(done, static_cast<std::int64_t>(piece.iov_len));
      done -= part;
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + part;
      piece.iov_len -= static_cast<std::size_t>(part);
      if (piece.iov_len > 0) break;
      ++request.first;
      --request.count;
    }
    return request.bytes == 0;
  }
};

class PageFile::Ring {
 public:
  /// Null if the system does not give one: seccomp (EPERM, ENOSYS), a limit, an old kernel.
  static std::unique_ptr<Ring> make(int depth) {
    std::unique_ptr<Ring> ring(new Ring(depth));
    ring->open_ = ::io_uring_queue_init(static_cast<unsigned>(depth), &ring->ring_, 0) == 0;
    return ring->open_ ? std::move(ring) : nullptr;
  }
  ~Ring() {
    if (open_) ::io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  io_uring* get() { return &ring_; }
  int depth() const { return depth_; }

 private:
  explicit Ring(int depth) : depth_(depth) {}

  io_uring ring_{};
  int depth_;
  bool open_ = false;
};

void PageFile::create(const fs::path& path, std::int64_t bytes) {
  if (!is_whole(bytes))
    throw Error(path.string() + ": " + grouped(bytes) + " bytes are not a multiple of " +
                grouped(kPageBytes));
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) throw IoError(path, "create", errno);
  try {
    reserve(path, descriptor, bytes);
  } catch (...) {
    ::unlink(path.c_str());
    ::close(descriptor);
    throw;
  }
  if (::close(descriptor) != 0) throw IoError(path, "create", errno);
}

PageFile::PageFile(fs::path path, Access access) : PageFile(std::move(path), access, Options{}) {}

PageFile::PageFile(fs::path path, Access access, const Options& options)
    : path_(std::move(path)), access_(access) {
  try {
    open(options.direct);
    if (options.ring) ring_ = Ring::make(std::max(options.queue_depth, 1));
  } catch (...) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw;
  }
}

PageFile::~PageFile() {
  ring_.reset();
  ::close(descriptor_);
}

void PageFile::open(bool direct) {
  const int flags = (access_ == Access::kRead ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  descriptor_ = ::open(path_.c_str(), direct ? flags | O_DIRECT : flags);
  if (descriptor_ < 0 && direct && errno == EINVAL) return open(false);
  if (descriptor_ < 0) throw IoError(path_, "open", errno);
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0) throw IoError(path_, "open", errno);
  if (!S_ISREG(info.st_mode)) throw Error(path_.string() + ": is no regular file");
  bytes_ = info.st_size;
  if (!is_whole(bytes_))
    throw Error(path_.string() + ": has " + grouped(bytes_) + " bytes, want a multiple of " +
                grouped(kPageBytes) + ": it was cut");
  direct_ = direct;
  if (!direct || bytes_ == 0) return;
  // Some file systems take the flag and refuse what is then read.
  const Pages page = aligned_pages(kPageBytes);
  if (::pread(descriptor_, page.get(), kPageBytes, 0) < 0 && errno == EINVAL) {
    ::close(std::exchange(descriptor_, -1));
    open(false);
  }
}

std::string PageFile::how() const {
  return std::string(ring_ ? "io_uring"
                           : "plain calls of " + std::to_string(kThreads) + " threads") +
         (direct_ ? ", past the page cache" : ", by the page cache");
}

void PageFile::read(std::span<const PageTransfer> transfers) {
  transfer(Direction::kRead, transfers);
}

void PageFile::write(std::span<const PageTransfer> transfers) {
  if (access_ == Access::kRead) throw IoError(path_, "write", EBADF);
  transfer(Direction::kWrite, transfers);
}

void PageFile::sync() {
  while (::fdatasync(descriptor_) != 0)
    if (errno != EINTR) throw IoError(path_, "sync", errno);
}

PageFile::Requests PageFile::merged(Direction direction,
                                    std::span<const PageTransfer> transfers) const {
  const auto refuse = [&](const PageTransfer& transfer, const char* why) {
    throw Error(path_.string() + ": cannot " + (direction == Direction::kRead ? "read" : "write") +
                " " + grouped(transfer.bytes) + " bytes at " + grouped(transfer.offset) + ": " +
                why);
  };
  Requests to;
  to.pieces.reserve(transfers.size());
  for (const PageTransfer& transfer : transfers) {
    if (!is_whole(transfer.offset) || !is_whole(transfer.bytes) ||
        reinterpret_cast<std::uintptr_t>(transfer.memory) % kPageBytes != 0)
      refuse(transfer, "place, size and memory must be multiples of 4096");
    if (transfer.offset > bytes_ || transfer.bytes > bytes_ - transfer.offset)
      refuse(transfer, ("the file has " + grouped(bytes_)).c_str());
    for (std::int64_t begin = 0; begin < transfer.bytes;) {
      const std::int64_t offset = transfer.offset + begin;
      std::byte* const memory = transfer.memory + begin;
      PageRequest* last = to.list.empty() ? nullptr : &to.list.back();
      if (last == nullptr || last->offset + last->bytes != offset ||
          last->bytes == kLargestRequest) {
        to.list.push_back({offset, 0, to.pieces.size(), 0});
        last = &to.list.back();
      }
      // At most 256 pieces of a page each; the system takes 1024.
      const std::int64_t bytes = std::min(transfer.bytes - begin, kLargestRequest - last->bytes);
      if (last->count > 0 &&
          static_cast<std::byte*>(to.pieces.back().iov_base) + to.pieces.back().iov_len == memory) {
        to.pieces.back().iov_len += static_cast<std::size_t>(bytes);
      } else {
        to.pieces.push_back({memory, static_cast<std::size_t>(bytes)});
        ++last->count;
      }
      last->bytes += bytes;
      begin += bytes;
    }
  }
  return to;
}

void PageFile::transfer(Direction direction, std::span<const PageTransfer> transfers) {
  Requests requests = merged(direction, transfers);
  if (ring_) {
    by_ring(direction, requests);
  } else {
    by_threads(direction, requests);
  }
}

namespace {

void tell(const fs::path& path, const char* doing, const std::optional<PageFailure>& failure) {
  if (!failure) return;
  const std::string what =
      std::string(doing) + " " + grouped(failure->bytes) + " bytes at " + grouped(failure->offset);
  if (failure->error != 0) throw IoError(path, what, failure->error);
  throw Error(path.string() + ": cannot " + what +
              ": it ends there, and was longer when it was opened");
}

const char* verb(bool read) {
  return read ? "read" : "write";
}

}  // namespace

void PageFile::by_ring(Direction direction, Requests& requests) {
  io_uring* const ring = ring_->get();
  const bool reads = direction == Direction::kRead;
  std::optional<PageFailure> failure;
  std::vector<std::size_t> again;
  std::size_t next = 0;
  int under_way = 0;
  // After a failure nothing new is begun, but what is under way must end: it uses the caller's
  // memory.
  for (;;) {
    while (!failure && under_way < ring_->depth() &&
           (!again.empty() || next < requests.list.size())) {
      io_uring_sqe* const entry = ::io_uring_get_sqe(ring);
      if (entry == nullptr) break;
      std::size_t index = next;
      if (again.empty()) {
        ++next;
      } else {
        index = again.back();
        again.pop_back();
      }
      const PageRequest& request = requests.list[index];
      const iovec* const pieces = &requests.pieces[request.first];
      const auto count = static_cast<unsigned>(request.count);
      const auto offset = static_cast<std::uint64_t>(request.offset);
      if (reads) {
        ::io_uring_prep_readv(entry, descriptor_, pieces, count, offset);
      } else {
        ::io_uring_prep_writev(entry, descriptor_, pieces, count, offset);
      }
      ::io_uring_sqe_set_data64(entry, index);
      ++under_way;
    }
    if (under_way == 0) break;
    const int result = ::io_uring_submit_and_wait(ring, 1);
    if (result == -EAGAIN || result == -EBUSY) {  // the kernel is short of memory for requests
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } else if (result < 0 && result != -EINTR) {
      // What was not handed over never will be: the ring is given up, and the object goes on by
      // plain calls.
      int handed_over = under_way - static_cast<int>(::io_uring_sq_ready(ring));
      io_uring_cqe* done = nullptr;
      for (; handed_over > 0; --handed_over) {
        while (::io_uring_wait_cqe(ring, &done) != 0) {
        }
        ::io_uring_cqe_seen(ring, done);
      }
      ring_.reset();
      throw IoError(path_, std::string(verb(reads)) + " by io_uring", -result);
    }
    io_uring_cqe* done = nullptr;
    while (::io_uring_peek_cqe(ring, &done) == 0) {
      const auto index = static_cast<std::size_t>(::io_uring_cqe_get_data64(done));
      if (!requests.finish(requests.list[index], done->res, failure)) again.push_back(index);
      ::io_uring_cqe_seen(ring, done);
      --under_way;
    }
  }
  tell(path_, verb(reads), failure);
}

void PageFile::by_threads(Direction direction, Requests& requests) {
  const bool reads = direction == Direction::kRead;
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> failed = false;
  const auto work = [&](std::optional<PageFailure>& failure) {
    for (;;) {
      const std::size_t index = next++;
      if (failed || index >= requests.list.size()) return;
      PageRequest& request = requests.list[index];
      ssize_t result = 0;
      do {
        const iovec* const pieces = &requests.pieces[request.first];
        const auto count = static_cast<int>(request.count);
        result = reads ? ::preadv(descriptor_, pieces, count, request.offset)
                       : ::pwritev(descriptor_, pieces, count, request.offset);
        if (result < 0) result = -errno;
      } while (!requests.finish(request, result, failure));
      if (failure) failed = true;
    }
  };
  const auto count = std::min<std::size_t>(kThreads, requests.list.size());
  std::vector<std::optional<PageFailure>> failures(std::max<std::size_t>(count, 1));
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 1; thread < count; ++thread)
      threads.emplace_back([&, thread] { work(failures[thread]); });
    work(failures[0]);
  }
  for (const auto& failure : failures) tell(path_, verb(reads), failure);
}

}  // namespace pfc
