#include "data/text_lines.h"

#include <algorithm>

#include "base/shown.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"

namespace pfc {

std::string_view list_text(std::string_view text, const std::string& name) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff"))
    throw DataError(name, "byte 0", "UTF-16 text, want it saved as UTF-8");
  require_text(name, std::as_bytes(std::span(text)), "a list in text");
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  return text;
}

std::string_view list_text(std::span<const std::byte> bytes, const std::string& name) {
  return list_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
}

std::string_view first_line(std::string_view text) {
  const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
  return line.substr(0, line.find_last_not_of(" \t") + 1);
}

Lines::Lines(std::string_view text, const std::string& name)
    : rest_(list_text(text, name)), name_(name) {}

Lines::Lines(std::span<const std::byte> bytes, const std::string& name)
    : rest_(list_text(bytes, name)), name_(name) {}

bool Lines::next() {
  while (!rest_.empty()) {
    line_ = first_line(rest_);
    rest_.remove_prefix(std::min(rest_.find_first_of("\r\n"), rest_.size()));
    if (!rest_.empty()) rest_.remove_prefix(rest_.starts_with("\r\n") ? 2 : 1);
    ++number_;
    if (!line_.empty()) return true;
  }
  return false;
}

void Lines::fail(const std::string& want) const {
  throw DataError(name_, "line " + std::to_string(number_),
                  "found " + shown(line_) + ", want " + want);
}

std::vector<std::string_view> split(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  while (!line.empty()) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const std::size_t closing =
        separator == ',' && line.starts_with('"') ? line.find('"', 1) : std::string_view::npos;
    const bool quoted = closing != std::string_view::npos;
    const std::size_t end = std::min(line.find(separator, quoted ? closing : 0), line.size());
    std::string_view field = quoted ? line.substr(1, closing - 1) : line.substr(0, end);
    field = field.substr(0, field.find_last_not_of(' ') + 1);
    if (!field.empty()) fields.push_back(field);
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return fields;
}

bool TextLines::next() {
  while (Lines::next()) {
    const bool has_tab = line().find('\t') != std::string_view::npos;
    fields_ = split(line(), separator_ != 0 ? separator_ : (has_tab ? '\t' : ' '));
    if (!fields_.empty()) return true;
  }
  return false;
}

}  // namespace pfc
