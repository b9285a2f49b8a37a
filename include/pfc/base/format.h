#pragma once

#include <cstdint>
#include <string>

namespace pfc {

/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

/// 1234567 -> "1,234,567".
std::string grouped(std::int64_t number);

}  // namespace pfc
