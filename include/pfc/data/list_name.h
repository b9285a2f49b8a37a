#pragma once

#include <string>
#include <string_view>

namespace pfc {

/// A name as it stands in a list of a name a line, with more behind a tab: control characters,
/// which would end the line or the field, become \n, \t, \r, \xNN; so do a space at an end, a # and
/// a byte-order mark in front, which readers drop; a backslash becomes two. Other names stay as
/// they are.
std::string list_name(std::string_view name);

}  // namespace pfc
