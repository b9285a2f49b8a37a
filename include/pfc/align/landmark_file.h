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

/// Where the five points stand among the numbers of a line, and in which order. One reading holds
/// for a whole list.
struct LandmarkReading {
  int before = 0;             ///< numbers before the first point: a label, a score, a box
  int step = 2;               ///< from a point's first number to the next point's
  int apart = 1;              ///< from a point's first number to its second one
  bool y_first = false;       ///< rows before columns
  bool right_first = false;   ///< the right eye and the right corner of the mouth come first
  bool of_68 = false;         ///< 68 points, of which five are made
  bool of_the_sides = false;  ///< fractions of the picture's width and height, not pixels

  bool operator==(const LandmarkReading&) const = default;
};

/// Landmarks of pictures by their names, from
/// - text: a line with a name and numbers for each picture, fields separated by tabs, else by
///   commas, else by spaces, by the first that gives enough numbers; empty lines, lines that begin
///   with # and up to two lines of heading are passed over;
/// - JSON (a file that begins with `{`): `{"NAME": [[X1, Y1], …, [X5, Y5]], …}`, or any other
///   nesting of the same numbers.
/// Lists differ in what stands before and after the points and in the order of the points, and do
/// not say so. All readings are tried: the one under which the list's points look like faces is
/// taken for every line. Text stays in its file: it takes 16 bytes of memory a picture.
class LandmarkFile {
 public:
  /// Throws Error where the file cannot be read. Throws DataError with the line or the name where
  /// it is something else, where lines differ in how many numbers they have, where no reading
  /// looks like faces, or where a picture is named twice.
  static LandmarkFile open(const std::filesystem::path& path);
  /// The same from memory that outlives it; `name` stands for the file in messages.
  static LandmarkFile parse(std::span<const std::byte> bytes, const std::string& name);

  /// The points of a picture of `size`, in its pixels as decode_image gives them: turned as its
  /// EXIF says, as OpenCV and so most detectors see it. A list may name it without its extension.
  /// Throws DataError with the line where they do not look like a face.
  std::optional<Landmarks> find(std::string_view name, const ImageSize& size) const;
  bool contains(std::string_view name) const { return line_of(name) != nullptr; }

  std::int64_t size() const { return static_cast<std::int64_t>(lines_.size()); }
  /// A name that the list has, as it has it.
  std::string_view example() const;
  const LandmarkReading& reading() const { return reading_; }
  /// The reading in words: "NAME, 1 other, X1 … X5 Y1 … Y5", and the headings that were passed
  /// over.
  std::string reading_text() const;

 private:
  struct Line {
    std::uint32_t hash = 0;    ///< of the name
    std::uint32_t number = 0;  ///< from 1
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
  std::string headings_;     ///< that were passed over, for reading_text()
  LandmarkReading reading_;
};

}  // namespace pfc
