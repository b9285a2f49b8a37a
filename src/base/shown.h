#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace pfc {

/// A line for a message: shortened, without what cannot be printed.
inline std::string shown(std::string_view line) {
  line = line.substr(0, std::min(line.find('\n'), std::size_t{40}));
  std::string out;
  for (const char c : line)
    out += c == '\t' ? std::string("\\t") : std::string(1, c < ' ' || c > '~' ? '?' : c);
  return "\"" + out + "\"";
}

}  // namespace pfc
