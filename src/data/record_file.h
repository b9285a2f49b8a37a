#pragma once

#include <filesystem>

#include "data/record_index.h"
#include "data/record_index_cache.h"
#include "pfc/base/files.h"
#include "pfc/data/record_io.h"

namespace pfc {

/// Whether a file's name says that it is a `.rec`, or else its first bytes do.
bool is_rec(const std::filesystem::path& path);

/// A `.rec` that is open, and where its images are.
class RecordFile {
 public:
  /// Throws Error where it cannot be opened.
  explicit RecordFile(const std::filesystem::path& rec);
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;

  const RecordReader& reader() const { return reader_; }
  const MappedFile& mapped() const { return mapped_; }
  const RecordSource& source() const { return source_; }
  /// From the index cache, or made from the `.idx` or by a scan. Then it is written to the cache
  /// where `cache_dir` names its folder, or `beside` lets it lie beside the data. Throws DataError
  /// where the files are not consistent, IoError where a cache is there and cannot be read, and,
  /// before a scan, Error where `cache_dir` was named and cannot be written.
  RecordIndex index(const std::filesystem::path& cache_dir = {}, bool beside = false) const;

 private:
  RecordSource source_;  // stamped before anything is read: a change under way makes the cache
                         // stale, never wrong
  MappedFile mapped_;
  RecordReader reader_;
};

}  // namespace pfc
