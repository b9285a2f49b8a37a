#include "base/toml_text.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/named_values.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/files.h"

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

std::optional<NamedValue> named_value(const toml::node& node) {
  if (const auto value = node.value_exact<bool>()) return *value;
  if (const auto value = node.value_exact<std::int64_t>()) return *value;
  if (const auto value = node.value_exact<double>(); value && std::isfinite(*value)) return *value;
  if (auto value = node.value_exact<std::string>()) return expand_home(std::move(*value));
  return std::nullopt;
}

NamedValues parse_named_values(std::string_view text, std::string_view file) {
  const toml::table table = parse_toml("values = " + std::string(text), file);
  const toml::node* values = table.get("values");
  if (table.size() != 1 || !values->is_table())
    throw DataError(std::string(file), "options", "want a table");
  NamedValues read;
  for (const auto& [name, node] : *values->as_table()) {
    const auto value = named_value(node);
    if (!value) throw DataError(std::string(file), "options", "want booleans, numbers and strings");
    read.emplace(name.str(), *value);
  }
  return read;
}

}  // namespace pfc
