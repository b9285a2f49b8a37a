#pragma once

#include <filesystem>

#include "data/record_index.h"
#include "data/record_index_cache.h"
#include "pfc/base/files.h"
#include "pfc/data/record_io.h"

namespace pfc {

/// Whether the name of a file, or else its first bytes, says that it is a `.rec`.
bool is_rec(const std::filesystem::path& path);

/// An open `.rec` and the places of its images.
class RecordFile {
 public:
  /// Throws Error if it cannot be opened.
  explicit RecordFile(const std::filesystem::path& rec);
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;

  const RecordReader& reader() const { return reader_; }
  const MappedFile& mapped() const { return mapped_; }
  const RecordSource& source() const { return source_; }
  /// Reads the index from the cache, or makes it from the `.idx` or by a scan. A new index is
  /// written into the cache in `cache_dir`, or beside the data if `beside` allows it. Throws
  /// DataError if the files are not consistent, IoError if a cache exists and cannot be read, and,
  /// before a scan, Error if `cache_dir` was given and cannot be written.
  RecordIndex index(const std::filesystem::path& cache_dir = {}, bool beside = false) const;

 private:
  RecordSource source_;  // stamped before anything is read: a change during reading makes the cache
                         // stale, never wrong
  MappedFile mapped_;
  RecordReader reader_;
};

}  // namespace pfc
