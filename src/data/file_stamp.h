#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace pfc {

/// Tells whether a file is still the same.
struct FileStamp {
  static constexpr std::uint64_t kNoFile = ~std::uint64_t{0};
  std::uint64_t size = kNoFile;
  std::int64_t time = 0;  ///< of the last change of its bytes, in ns since 1970

  bool operator==(const FileStamp&) const = default;
  /// "size time", or "-" if there is no such file.
  std::string text() const;
};

/// Throws IoError if the system does not say whether the file exists.
FileStamp stamp_of(const std::filesystem::path& file);

}  // namespace pfc
