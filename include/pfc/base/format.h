#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pfc {

/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t number);

/// 1234567890 -> "1.23 GB".
std::string gigabytes(std::int64_t bytes);

/// A name from outside, fit for a line of an error: cut short, '?' for what is not ASCII or not
/// printed.
std::string printable(std::string_view name);

}  // namespace pfc
