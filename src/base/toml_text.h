#pragma once

#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>

#include "pfc/base/error.h"
#include "pfc/base/field.h"

namespace pfc {

/// Where a value was written: a line of a file, or an override.
struct Place {
  std::string file, where;

  [[noreturn]] void fail(const std::string& what) const { throw DataError(file, where, what); }
};

Place place_of(std::string_view file, const toml::source_region& source);

/// Parses a TOML text; `file` stands for it in messages. Throws DataError with the line.
toml::table parse_toml(std::string_view text, std::string_view file);

/// The node's value; nothing for a list, a table, a date, or a number that is not finite.
std::optional<NamedValue> named_value(const toml::node& node);

}  // namespace pfc
