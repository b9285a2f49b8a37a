#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/align/align.h"
#include "pfc/base/files.h"

namespace pfc {

/// Landmarks of pictures by their names, from
/// - text: a line `NAME X1 Y1 … X5 Y5` each, fields separated by tabs, or by spaces where a line
/// has
///   no tab; what follows (IJB's detector score) is not looked at; lines that are empty or begin
///   with # count nowhere;
/// - JSON (a file that begins with `{`): `{"NAME": [[X1, Y1], …, [X5, Y5]], …}`.
/// Text stays in its file: it takes 16 bytes of memory a picture.
class LandmarkFile {
 public:
  /// Throws Error where the file cannot be read, DataError with the line or the name where it is
  /// something else, or names a picture twice.
  static LandmarkFile open(const std::filesystem::path& path);
  /// The same from memory that outlives it; `name` stands for the file in messages.
  static LandmarkFile parse(std::span<const std::byte> bytes, const std::string& name);

  std::optional<Landmarks> find(std::string_view name) const;
  std::int64_t size() const { return static_cast<std::int64_t>(lines_.size()); }

 private:
  struct Line {
    std::uint64_t hash = 0;   ///< of the name
    std::uint64_t begin = 0;  ///< in the text
  };

  LandmarkFile(std::span<const std::byte> bytes, const std::string& name);

  std::optional<MappedFile> mapped_;
  std::unique_ptr<const std::string> json_as_text_;
  std::string_view text_;
  std::vector<Line> lines_;  ///< in the order of their hashes
};

}  // namespace pfc
