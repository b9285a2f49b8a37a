#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace pfc {

/// What tells that a file is still the one it was.
struct FileStamp {
  static constexpr std::uint64_t kNoFile = ~std::uint64_t{0};
  std::uint64_t size = kNoFile;
  std::int64_t time = 0;  ///< of the last change of its bytes, in ns since 1970

  bool operator==(const FileStamp&) const = default;
  /// "size time", or "-" where there is no such file.
  std::string text() const;
};

/// Throws IoError where it is not known whether there is such a file.
FileStamp stamp_of(const std::filesystem::path& file);

}  // namespace pfc
