#include "base/toml_text.h"

#include <algorithm>
#include <span>

#include "pfc/base/file_kind.h"

namespace pfc {

Place place_of(std::string_view file, const toml::source_region& source) {
  return {std::string(file), "line " + std::to_string(source.begin.line)};
}

toml::table parse_toml(std::string_view text, std::string_view file) {
  require_text(file, std::as_bytes(std::span(text)), "a text in TOML");
  // Each full stop in a key nests one more table, and tables are freed by recursion.
  if (std::ranges::count(text, '.') > 2000) {
    throw DataError(file, "whole text", "more than 2000 full stops, which is no configuration");
  }
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    std::string what(error.description());
    std::ranges::replace_if(
        what, [](unsigned char c) { return c < 0x20; }, ' ');
    place_of(file, error.source()).fail(what);
  }
}

}  // namespace pfc
