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

/// The zip archive that torch.save writes: uncompressed entries in one folder.
class TorchArchive {
 public:
  /// A place in the archive.
  struct Entry {
    std::string name;
    std::uint64_t index;
    std::uint64_t size;
  };

  /// `bytes` must outlive the archive. Throws DataError if they are not such an archive.
  TorchArchive(std::string_view file, std::span<const std::byte> bytes);

  const std::string& file() const { return file_; }
  /// The entry of this name in the folder. Throws DataError if it is compressed or larger than the
  /// file.
  std::optional<Entry> find(const std::string& name) const;
  /// Whether the name of some entry begins like this.
  bool has_folder(std::string_view name) const;
  /// Reads a range, which must lie within the entry. If a whole entry is read, it is compared with
  /// its checksum. Throws DataError if the bytes cannot be read.
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
