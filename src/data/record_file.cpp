#include "data/record_file.h"

#include <fstream>
#include <optional>
#include <utility>

#include "data/dataset_sources.h"
#include "data/pages_read.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/outputs.h"
#include "pfc/base/paths.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

RecordIndex make_index(const RecordReader& reader, const fs::path& idx) {
  if (!is_there(idx)) return index_records(reader);
  return index_records(reader, read_idx(idx), idx.string());
}

/// Nothing if there is no cache of this source. Throws IoError if it cannot be read now: an error
/// that passes must not start a scan of hours.
std::optional<RecordIndex> cached_index(const fs::path& cache, const RecordSource& source) {
  if (!is_file(cache)) return std::nullopt;
  const MappedFile file(cache);
  PagesRead pages(file);
  return decode_index_cache(file.bytes(), source, [&](std::uint64_t begin, std::uint64_t end) {
    pages.read(begin, end);
  });
}

void write_index(const fs::path& cache, const RecordIndex& index, const RecordSource& source) {
  AtomicFile file(cache);
  encode_index_cache(index, source, [&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.commit();
}

}  // namespace

bool is_rec(const fs::path& path) {
  if (path.extension() == ".rec") return true;
  std::ifstream file(path, std::ios::binary);
  if (!file) return true;  // the reader will say why it cannot be opened
  std::uint32_t magic = 0;
  file.read(reinterpret_cast<char*>(&magic), sizeof(magic));
  return magic == kRecordMagic;
}

RecordFile::RecordFile(const fs::path& rec)
    : source_{stamp_of(rec), stamp_of(idx_path_of(rec))}, mapped_(rec), reader_(mapped_) {
  const FileFormat format = recognise_file(mapped_.bytes()).format;
  if (format != FileFormat::kRecords && format != FileFormat::kUnknown)
    refuse_kind(rec.string(), mapped_.bytes(), "a .rec file");
}

RecordIndex RecordFile::index(const fs::path& cache_dir, bool beside) const {
  const fs::path& rec = mapped_.path();
  const fs::path cache = kept_beside(rec, cache_dir, ".pfcidx");
  if (auto index = cached_index(cache, source_)) return std::move(*index);
  if (!cache_dir.empty()) require_writable(cache);  // checked before a scan of hours, not after it
  mapped_.expect(Access::kSequential);
  RecordIndex index = make_index(reader_, idx_path_of(rec));
  if (cache_dir.empty() && !beside) return index;
  try {
    write_index(cache, index, source_);
  } catch (const Error&) {
    // Beside the data the cache only saves time, and the folder may be read-only. A folder that the
    // user named must work.
    if (!cache_dir.empty()) throw;
  }
  return index;
}

}  // namespace pfc
