#pragma once

#include <zip.h>

#include <cstddef>  // for std::byte
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/formats/tensor_stream.h"

namespace pfc {

/// The zip archive of torch.save: entries that are stored as they are, in one folder.
class TorchArchive {
 public:
  /// A place in the archive.
  struct Entry {
    std::string name;
    std::uint64_t index;
    std::uint64_t size;
  };

  /// `bytes` must outlive the archive. Throws DataError where they are no such archive.
  TorchArchive(std::string_view file, std::span<const std::byte> bytes);

  const std::string& file() const { return file_; }
  /// The entry of this name within the folder. Throws DataError where it is compressed, or larger
  /// than the file.
  std::optional<Entry> find(const std::string& name) const;
  /// Whether an entry's name begins so.
  bool has_folder(std::string_view name) const;
  /// Reads a range, which must lie within the entry. A whole entry's bytes are compared with their
  /// checksum. Throws DataError where they cannot be read.
  std::vector<std::byte> read(const Entry& entry, std::uint64_t offset, std::uint64_t size) const;
  /// The same, in pieces.
  void read(const Entry& entry, std::uint64_t offset, std::uint64_t size,
            const ByteSink& sink) const;

 private:
  struct Close {
    void operator()(zip_t* archive) const { zip_discard(archive); }
    void operator()(zip_file_t* entry) const { zip_fclose(entry); }
  };

  std::string file_;
  std::uint64_t file_size_;
  std::unique_ptr<zip_t, Close> archive_;
  std::string folder_;  ///< with its slash
};

}  // namespace pfc
