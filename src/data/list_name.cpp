#include "pfc/data/list_name.h"

#include "pfc/base/format.h"

namespace pfc {

std::string list_name(std::string_view name) {
  std::string text;
  const bool has_mark =
      name.starts_with("\xef\xbb\xbf") || name.starts_with('\xff') || name.starts_with('\xfe');
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool first = i == 0, last = i + 1 == name.size();
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\r') {
      text += "\\r";
    } else if (c == '\\') {
      text += "\\\\";
    } else if (static_cast<unsigned char>(c) < ' ' || c == '\x7f' ||
               (c == ' ' && (first || last)) || (first && (c == '#' || has_mark))) {
      text += format("\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace pfc
