#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// The text of a list, without a byte-order mark. Throws DataError if it is UTF-16, or if the file
/// is of another kind.
std::string_view list_text(std::string_view text, const std::string& name);
std::string_view list_text(std::span<const std::byte> bytes, const std::string& name);

/// The first line of `text`, without the newline and the blanks before it. Lines end as in Python:
/// with LF, CR LF or CR; the last one may have no end.
std::string_view first_line(std::string_view text);

/// The non-empty lines of a list, with their numbers. Every list from outside is read through this,
/// so a byte-order mark, CR LF, blanks at the end of a line and a missing last newline make no
/// difference.
class Lines {
 public:
  /// `name` stands for the file in messages; both outlive this. Throws DataError as list_text does.
  Lines(std::string_view text, const std::string& name);
  Lines(std::span<const std::byte> bytes, const std::string& name);

  /// The next one; false at the end.
  bool next();

  std::string_view line() const { return line_; }
  std::int64_t number() const { return number_; }
  [[noreturn]] void fail(const std::string& want) const;

 private:
  std::string_view rest_, line_;
  const std::string& name_;
  std::int64_t number_ = 0;
};

/// The parts of `line` between separators, without empty parts and without blanks around them. With
/// commas, a part may be in quotation marks, as in CSV.
std::vector<std::string_view> split(std::string_view line, char separator);

/// Lines and their fields.
class TextLines : public Lines {
 public:
  /// Fields are separated by `separator`. If it is 0: by tabs, or by spaces in a line without a
  /// tab.
  TextLines(std::span<const std::byte> bytes, const std::string& name, char separator = 0)
      : Lines(bytes, name), separator_(separator) {}

  bool next();

  const std::vector<std::string_view>& fields() const { return fields_; }

 private:
  char separator_;
  std::vector<std::string_view> fields_;
};

}  // namespace pfc
