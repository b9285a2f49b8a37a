#pragma once

#include <string>
#include <string_view>

namespace pfc {

/// A name in the form for a list that has one name a line, with more fields behind a tab. Control
/// characters, which would end the line or the field, become \n, \t, \r, \xNN. So do characters
/// that readers drop: a space at either end, and a # or a byte-order mark in front. A backslash
/// becomes two. Other names stay as they are.
std::string list_name(std::string_view name);

}  // namespace pfc
