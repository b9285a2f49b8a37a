#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pfc {

/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t number);

/// (1, "identity") -> "1 identity", (1807, "identity") -> "1,807 identities". `noun` is singular,
/// its last word is the one that changes.
std::string counted(std::int64_t number, std::string_view noun);

/// 1234567890 -> "1.23 GB", 96300000 -> "96.3 MB", 1500 -> "1.5 kB", 12 -> "12 bytes".
std::string size_text(std::int64_t bytes);

/// (120, 96300000) -> "0.0 of 96.3 MB": both in the unit of the whole.
std::string part_of_size(std::int64_t bytes, std::int64_t of);

/// A line that may hold names from outside, fit for a terminal: '?' for what is not UTF-8, and for
/// what would not be printed but obeyed, such as the begin of a colour or a change of direction.
/// Tabs stay.
std::string printable_line(std::string_view line);

/// A name from outside, fit for a place in a line: the same without tabs, and cut short.
std::string printable(std::string_view name);

}  // namespace pfc
