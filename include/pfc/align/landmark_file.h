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

/// Where the five points are among the numbers of a line, and in which order. One reading holds for
/// a whole list.
struct LandmarkReading {
  int before = 0;             ///< numbers before the first point: a label, a score, a box
  int step = 2;               ///< from a point's first number to the next point's
  int apart = 1;              ///< from a point's first number to its second
  bool y_first = false;       ///< rows before columns
  bool right_first = false;   ///< the right eye and the right corner of the mouth come first
  bool of_68 = false;         ///< 68 points, from which the five are computed
  bool of_the_sides = false;  ///< fractions of the picture's width and height, not pixels

  bool operator==(const LandmarkReading&) const = default;
};

/// Landmarks of pictures, found by the pictures' names. Read from
/// - text: a line with a name and numbers for each picture. Fields are separated by tabs, by commas
///   or by spaces; the first of these that gives enough numbers is taken. Empty lines, lines that
///   begin with # and up to two header lines are skipped;
/// - JSON (a file that begins with `{`): `{"NAME": [[X1, Y1], …, [X5, Y5]], …}`, or any other
///   nesting of the same numbers.
///
/// Lists differ in what comes before and after the points and in the order of the points, and they
/// do not say which they use. So all readings are tried, and the one with which the points look
/// like faces is used for every line. Text stays in its file; each picture takes 16 bytes of
/// memory.
class LandmarkFile {
 public:
  /// Throws Error if the file cannot be read. Throws DataError with the line or the name if it is
  /// of another kind, if lines differ in how many numbers they have, if no reading looks like
  /// faces, or if a picture is named twice.
  static LandmarkFile open(const std::filesystem::path& path);
  /// The same from memory that outlives it; `name` stands for the file in messages.
  static LandmarkFile parse(std::span<const std::byte> bytes, const std::string& name);

  /// The points of a picture of `size`, in pixels of the picture as decode_image gives it: turned
  /// as its EXIF says, as OpenCV and so most detectors see it. A list may name a picture without
  /// its extension. Throws DataError with the line if the points do not look like a face.
  std::optional<Landmarks> find(std::string_view name, const ImageSize& size) const;
  bool contains(std::string_view name) const { return line_of(name) != nullptr; }

  std::int64_t size() const { return static_cast<std::int64_t>(lines_.size()); }
  /// A name of the list, as the list writes it.
  std::string_view example() const;
  const LandmarkReading& reading() const { return reading_; }
  /// The reading in words: "NAME, 1 other, X1 … X5 Y1 … Y5", and the header lines that were
  /// skipped.
  std::string reading_text() const;

 private:
  struct Line {
    std::uint32_t hash = 0;    ///< of the name
    std::uint32_t number = 0;  ///< the line's number, from 1
    std::uint64_t begin = 0;   ///< in the text
  };

  LandmarkFile(std::span<const std::byte> bytes, const std::string& name);

  void find_lines();
  void choose_reading();
  void sort_lines();
  std::string_view line_at(std::uint64_t begin) const;
  const Line* line_of(std::string_view name) const;
  const Line* line_named(const std::string& key) const;
  [[noreturn]] void fail_at(const Line& line, const std::string& what) const;

  std::optional<MappedFile> mapped_;
  std::string name_;
  std::unique_ptr<const std::string> json_as_text_;
  std::string_view text_;
  std::vector<Line> lines_;  ///< in the order of their hashes
  std::size_t numbers_ = 0;  ///< of each line
  std::string headings_;     ///< header lines that were skipped, for reading_text()
  LandmarkReading reading_;
};

}  // namespace pfc
