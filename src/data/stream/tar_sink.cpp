#include <archive.h>
#include <archive_entry.h>

#include <exception>
#include <optional>

#include "data/partial_folder.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/face_stream.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// One tar that appears whole.
class TarFile {
 public:
  explicit TarFile(const fs::path& path) : path_(path), file_(path) {
    check(archive_write_set_format_ustar(archive_.get()));
    check(archive_write_set_bytes_per_block(archive_.get(), 1 << 20));
    check(archive_write_set_bytes_in_last_block(archive_.get(), 1));
    check(archive_write_open(archive_.get(), this, nullptr, on_write, nullptr));
  }

  void add(const std::string& name, std::span<const std::byte> bytes) {
    const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(),
                                                                              archive_entry_free);
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(bytes.size()));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    check(archive_write_header(archive_.get(), entry.get()));
    if (archive_write_data(archive_.get(), bytes.data(), bytes.size()) !=
        static_cast<la_ssize_t>(bytes.size())) {
      check(ARCHIVE_FATAL);
    }
  }

  void commit() {
    check(archive_write_close(archive_.get()));
    file_.commit();
  }

 private:
  struct Free {
    void operator()(archive* a) const { archive_write_free(a); }
  };

  static la_ssize_t on_write(archive*, void* self, const void* bytes, std::size_t size) {
    auto& tar = *static_cast<TarFile*>(self);
    try {
      tar.file_.write({static_cast<const std::byte*>(bytes), size});
      return static_cast<la_ssize_t>(size);
    } catch (...) {  // exceptions must not pass through the C library
      tar.failure_ = std::current_exception();
      return -1;
    }
  }

  void check(int result) {
    if (result == ARCHIVE_OK) return;
    if (failure_) std::rethrow_exception(failure_);
    const char* what = archive_error_string(archive_.get());
    throw Error(path_.string() + ": cannot write: " + (what != nullptr ? what : "unknown error"));
  }

  fs::path path_;
  AtomicFile file_;
  std::exception_ptr failure_;
  std::unique_ptr<archive, Free> archive_{
      archive_write_new()};  // freed first, because it may still write
};

class TarSink final : public FaceSink {
 public:
  TarSink(const fs::path& folder, std::uint64_t shard_bytes)
      : folder_(folder), shard_bytes_(shard_bytes) {}

  void add(const Face& face) override {
    if (!shard_) {
      shard_.emplace(folder_.path() /
                     format("shard-%06lld.tar", static_cast<long long>(shards_++)));
      bytes_ = 0;
    }
    const std::string key = format("%09lld", static_cast<long long>(count_++));
    const std::string identity = std::to_string(face.identity);
    shard_->add(key + std::string(ending_of(face.image)), face.image);
    shard_->add(key + ".cls", std::as_bytes(std::span(identity)));
    bytes_ += face.image.size();
    if (bytes_ >= shard_bytes_) finish_shard();
  }

  void commit() override {
    if (count_ == 0) throw Error(folder_.path().string() + ": no images were added");
    if (shard_) finish_shard();
    folder_.commit();
  }

 private:
  void finish_shard() {
    shard_->commit();
    shard_.reset();
  }

  PartialFolder folder_;
  std::uint64_t shard_bytes_;
  std::optional<TarFile> shard_;
  std::uint64_t bytes_ = 0;  // of images in the shard
  std::int64_t shards_ = 0, count_ = 0;
};

}  // namespace

std::unique_ptr<FaceSink> make_tar_sink(const fs::path& folder, std::uint64_t shard_bytes) {
  return std::make_unique<TarSink>(folder, shard_bytes);
}

}  // namespace pfc
