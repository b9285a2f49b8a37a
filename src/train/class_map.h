#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace pfc {

/// Where class centres are taken from: for each of `classes`, its class among `others`, or -1.
/// The text has a line "class, class there" for each that is taken (a comma, spaces or a tab
/// between the two numbers); lines that are empty or begin with # count nowhere. Throws DataError
/// with the line where it is something else, a number is out of range, or a class comes twice.
std::vector<std::int64_t> parse_class_map(std::string_view text, std::string_view name,
                                          std::int64_t classes, std::int64_t others);

}  // namespace pfc
