#include "pfc/base/checksum.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL  // its header is all that is needed
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "base/retry_io.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {

struct ChecksumBuilder::State {
  State() { begin(); }
  void begin() {
    XXH3_64bits_reset(hash.get());
    bytes = 0;
  }

  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> hash{XXH3_createState()};
  std::uint64_t bytes = 0;
};

ChecksumBuilder::ChecksumBuilder() : state_(std::make_unique<State>()) {}
ChecksumBuilder::~ChecksumBuilder() = default;

void ChecksumBuilder::add(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto part =
        bytes.first(std::min<std::uint64_t>(bytes.size(), Checksums::kBlockBytes - state_->bytes));
    XXH3_64bits_update(state_->hash.get(), part.data(), part.size());
    state_->bytes += part.size();
    sums_.bytes += part.size();
    bytes = bytes.subspan(part.size());
    if (state_->bytes == Checksums::kBlockBytes) {
      sums_.blocks.push_back(XXH3_64bits_digest(state_->hash.get()));
      state_->begin();
    }
  }
}

Checksums ChecksumBuilder::finish() {
  if (state_->bytes > 0) sums_.blocks.push_back(XXH3_64bits_digest(state_->hash.get()));
  return std::move(sums_);
}

CheckedFile::CheckedFile(std::filesystem::path path, Checksums sums)
    : path_(std::move(path)), sums_(std::move(sums)) {
  descriptor_ = retry_io([&] {
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 && errno == ENOENT) throw Error(path_.string() + ": is missing");
    if (descriptor < 0) throw IoError(path_, "open", errno);
    return descriptor;
  });
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0 || static_cast<std::uint64_t>(info.st_size) != sums_.bytes) {
    ::close(descriptor_);
    throw DataError(path_.string(), "end",
                    counted(info.st_size, "byte") + ", want " +
                        grouped(static_cast<std::int64_t>(sums_.bytes)));
  }
}

CheckedFile::~CheckedFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

CheckedFile::CheckedFile(CheckedFile&& other) noexcept
    : path_(std::move(other.path_)),
      sums_(std::move(other.sums_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      buffer_(std::move(other.buffer_)),
      loaded_(other.loaded_) {}

void CheckedFile::read(std::uint64_t offset, std::span<std::byte> out) {
  if (offset > sums_.bytes || out.size() > sums_.bytes - offset) {
    throw DataError(path_.string(), "offset " + std::to_string(offset),
                    counted(out.size(), "byte") + " wanted of a file of " +
                        grouped(static_cast<std::int64_t>(sums_.bytes)));
  }
  while (!out.empty()) {
    load(offset / Checksums::kBlockBytes);
    const auto part = std::span(buffer_).subspan(offset % Checksums::kBlockBytes);
    const std::size_t size = std::min(part.size(), out.size());
    std::copy_n(part.begin(), size, out.begin());
    out = out.subspan(size);
    offset += size;
  }
}

void CheckedFile::verify() {
  for (std::uint64_t block = 0; block < sums_.blocks.size(); ++block) load(block);
}

void CheckedFile::load(std::uint64_t block) {
  if (block == loaded_) return;
  const std::uint64_t begin = block * Checksums::kBlockBytes;
  buffer_.resize(std::min(Checksums::kBlockBytes, sums_.bytes - begin));
  loaded_ = UINT64_MAX;
  retry_io([&] {
    for (std::size_t done = 0; done < buffer_.size();) {
      const ssize_t size = ::pread(descriptor_, buffer_.data() + done, buffer_.size() - done,
                                   static_cast<off_t>(begin + done));
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) throw IoError(path_, "read", errno);
      if (size == 0) {
        throw DataError(path_.string(), "offset " + std::to_string(begin + done),
                        "was cut while it was read");
      }
      done += static_cast<std::size_t>(size);
    }
  });
  if (XXH3_64bits(buffer_.data(), buffer_.size()) != sums_.blocks[block]) {
    throw DataError(path_.string(), "offset " + std::to_string(begin),
                    "altered since it was written: the checksum of its " +
                        counted(buffer_.size(), "byte") + " from here on differs");
  }
  loaded_ = block;
}

}  // namespace pfc
