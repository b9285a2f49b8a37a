#include "eval/text_table.h"

#include <algorithm>

namespace pfc {
namespace {

/// How many columns a terminal uses for UTF-8 text: one for each character, which is right for what
/// is printed here.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string text_table(const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t widest = 0;
      for (const auto& each : rows) widest = std::max(widest, width(each[column]));
      const std::string padding(widest - width(row[column]), ' ');
      text +=
          (column == 0 ? "" : "  ") + (column == 0 ? row[column] + padding : padding + row[column]);
    }
    text += '\n';
  }
  return text;
}

}  // namespace pfc
