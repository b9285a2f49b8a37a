#include "formats/torch_archive.h"

#include <algorithm>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::uint64_t kPiece = 1 << 20;

class ZipError {
 public:
  ZipError() { zip_error_init(&error_); }
  ~ZipError() { zip_error_fini(&error_); }
  ZipError(const ZipError&) = delete;
  ZipError& operator=(const ZipError&) = delete;

  zip_error_t* get() { return &error_; }
  std::string text() { return zip_error_strerror(&error_); }

 private:
  zip_error_t error_;
};

}  // namespace

TorchArchive::TorchArchive(std::string_view file, std::span<const std::byte> bytes)
    : file_(file), file_size_(bytes.size()) {
  ZipError error;
  zip_source_t* source =
      zip_source_buffer_create(bytes.data(), bytes.size(), /*freep=*/0, error.get());
  if (source != nullptr) {
    archive_.reset(zip_open_from_source(source, ZIP_RDONLY, error.get()));
    if (!archive_) zip_source_free(source);
  }
  if (!archive_) {
    throw DataError(file_, "end",
                    "no directory of a zip archive, want that of torch.save (" + error.text() +
                        "); is the file cut off?");
  }
  const char* first = zip_get_name(archive_.get(), 0, ZIP_FL_ENC_RAW);
  const std::string_view name = first == nullptr ? "" : first;
  folder_ = name.substr(0, name.find('/') + 1);  // empty if there is no slash
}

std::optional<TorchArchive::Entry> TorchArchive::find(const std::string& name) const {
  zip_stat_t stat;
  const std::string path = folder_ + name;
  if (zip_stat(archive_.get(), path.c_str(), ZIP_FL_ENC_RAW, &stat) != 0) return std::nullopt;
  const auto fail = [&](const std::string& what) {
    throw DataError(file_, "entry " + printable(path), what);
  };
  constexpr zip_uint64_t kWanted =
      ZIP_STAT_INDEX | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if ((stat.valid & kWanted) != kWanted) fail("its size is not told");
  if (stat.comp_method != ZIP_CM_STORE || stat.comp_size != stat.size) {
    fail("compressed, want uncompressed bytes, as torch.save writes them");
  }
  if (stat.size > file_size_) {
    fail(std::to_string(stat.size) + " bytes in a file of " + std::to_string(file_size_));
  }
  return Entry{name, stat.index, stat.size};
}

bool TorchArchive::has_folder(std::string_view name) const {
  const std::string path = folder_ + std::string(name);
  const auto entries = zip_get_num_entries(archive_.get(), 0);
  for (zip_int64_t i = 0; i < entries; ++i) {
    const char* entry = zip_get_name(archive_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    if (entry != nullptr && std::string_view(entry).starts_with(path)) return true;
  }
  return false;
}

std::vector<std::byte> TorchArchive::read(const Entry& entry, std::uint64_t offset,
                                          std::uint64_t size) const {
  std::vector<std::byte> bytes;
  bytes.reserve(size);
  read(entry, offset, size, [&](std::span<const std::byte> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  });
  return bytes;
}

void TorchArchive::read(const Entry& entry, std::uint64_t offset, std::uint64_t size,
                        const ByteSink& sink) const {
  const auto fail = [&](const std::string& what) {
    throw DataError(file_, "entry " + printable(folder_ + entry.name), what);
  };
  const std::unique_ptr<zip_file_t, Close> in(zip_fopen_index(archive_.get(), entry.index, 0));
  if (!in) fail(std::string("cannot be read: ") + zip_strerror(archive_.get()));
  const auto cannot = [&] { fail(std::string("cannot be read: ") + zip_file_strerror(in.get())); };
  if (offset > 0 && zip_fseek(in.get(), static_cast<zip_int64_t>(offset), SEEK_SET) != 0) cannot();

  std::vector<std::byte> piece(std::min(size, kPiece));
  for (std::uint64_t left = size; left > 0;) {
    const zip_int64_t got = zip_fread(in.get(), piece.data(), std::min(left, kPiece));
    if (got < 0) cannot();
    if (got == 0) {
      fail("ends " + std::to_string(left) + " bytes before the " + std::to_string(offset + size) +
           " that are wanted of it");
    }
    sink(std::span(piece).first(static_cast<std::size_t>(got)));
    left -= static_cast<std::uint64_t>(got);
  }
  // The checksum is compared when an entry was read from its begin to its end.
  std::byte beyond;
  if (offset == 0 && size == entry.size && zip_fread(in.get(), &beyond, 1) < 0) cannot();
}

}  // namespace pfc
