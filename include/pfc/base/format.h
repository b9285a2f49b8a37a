#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pfc {

/// Like printf, but returns a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t number);

/// (1, "identity") -> "1 identity", (1807, "identity") -> "1,807 identities". `noun` is singular;
/// its last word takes the plural.
std::string counted(std::int64_t number, std::string_view noun);

/// 1234567890 -> "1.23 GB", 96300000 -> "96.3 MB", 1500 -> "1.5 kB", 12 -> "12 bytes".
std::string size_text(std::int64_t bytes);

/// (120, 96300000) -> "0.0 of 96.3 MB": both numbers have the unit of the whole.
std::string part_of_size(std::int64_t bytes, std::int64_t of);

/// Makes a line that may hold names from outside safe for a terminal. '?' replaces bytes that are
/// not UTF-8 and characters that a terminal would obey and not print, such as a colour code or a
/// change of writing direction. Tabs stay.
std::string printable_line(std::string_view line);

/// Makes a name from outside safe inside a line: as above, but without tabs, and cut if it is long.
std::string printable(std::string_view name);

}  // namespace pfc
