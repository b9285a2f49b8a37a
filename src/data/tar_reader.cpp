#include "data/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include <exception>
#include <new>
#include <utility>

#include "data/image_file.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;

}  // namespace

void TarReader::Free::operator()(archive* a) const {
  archive_read_free(a);
}

/// Where a tar's bytes come from.
struct TarReader::Input {
  std::function<std::span<const std::byte>()> read;
  std::exception_ptr failure;

  static la_ssize_t on_read(archive*, void* self, const void** bytes) {
    auto& input = *static_cast<Input*>(self);
    try {
      const auto part = input.read();
      *bytes = part.data();
      return std::ssize(part);
    } catch (...) {  // exceptions must not pass through the C library
      input.failure = std::current_exception();
      return -1;
    }
  }
};

bool is_tar_name(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".tar") || name.ends_with(".tar.gz") || name.ends_with(".tgz");
}

std::vector<std::filesystem::path> shards_in(const std::filesystem::path& folder) {
  const auto is_folder = [](const auto& entry) { return entry.is_directory(); };
  if (!names_in(folder, is_folder).empty()) return {};
  std::vector<std::filesystem::path> shards;
  for (const std::string& name :
       names_in(folder, [](const auto& entry) { return is_tar_name(entry.path()); })) {
    shards.push_back(folder / name);
  }
  return shards;
}

TarReader::TarReader(TarReader&&) noexcept = default;
TarReader& TarReader::operator=(TarReader&&) noexcept = default;
TarReader::~TarReader() = default;

TarReader::TarReader(std::string name) : name_(std::move(name)), archive_(archive_read_new()) {
  if (!archive_) throw std::bad_alloc();
  archive_read_support_filter_gzip(archive_.get());
  archive_read_support_format_tar(archive_.get());
}

TarReader TarReader::open(const std::string& path) {
  TarReader tar(path);
  if (archive_read_open_filename(tar.archive_.get(), path.c_str(), kBlock) != ARCHIVE_OK)
    tar.fail();
  return tar;
}

TarReader TarReader::parse(std::span<const std::byte> bytes, const std::string& name) {
  TarReader tar(name);
  if (archive_read_open_memory(tar.archive_.get(), bytes.data(), bytes.size()) != ARCHIVE_OK)
    tar.fail();
  return tar;
}

TarReader TarReader::stream(std::function<std::span<const std::byte>()> read,
                            const std::string& name) {
  TarReader tar(name);
  tar.input_ = std::make_unique<Input>(Input{std::move(read), nullptr});
  if (archive_read_open(tar.archive_.get(), tar.input_.get(), nullptr, Input::on_read, nullptr) !=
      ARCHIVE_OK) {
    tar.fail();
  }
  return tar;
}

void TarReader::fail() const {
  if (input_ && input_->failure) std::rethrow_exception(input_->failure);
  const char* what = archive_error_string(archive_.get());
  throw DataError(name_, entry_.empty() ? "start" : "after " + printable(entry_),
                  what != nullptr ? what : "not a tar");
}

std::optional<std::string> TarReader::next() {
  for (;;) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(archive_.get(), &entry);
    if (result == ARCHIVE_EOF) return std::nullopt;
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) fail();
    const char* path = archive_entry_pathname(entry);
    entry_ = path != nullptr ? path : "";
    if (archive_entry_filetype(entry) == AE_IFREG) return entry_;
  }
}

std::span<const std::byte> TarReader::read_some() {
  const void* bytes = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  for (;;) {
    const int result = archive_read_data_block(archive_.get(), &bytes, &size, &offset);
    if (result == ARCHIVE_EOF) return {};
    if (result != ARCHIVE_OK) fail();
    if (size > 0) return {static_cast<const std::byte*>(bytes), size};
  }
}

void TarReader::read(std::size_t most, std::vector<std::byte>& out) {
  for (auto part = read_some(); !part.empty(); part = read_some()) {
    if (part.size() > most) {
      throw DataError(name_, printable(entry_), "is larger than such a file can be");
    }
    most -= part.size();
    out.insert(out.end(), part.begin(), part.end());
  }
}

std::int64_t TarReader::bytes_read() const {
  return archive_filter_bytes(archive_.get(), -1);
}

}  // namespace pfc
