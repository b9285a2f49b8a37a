#pragma once

#include <string>

namespace pfc {

/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

}  // namespace pfc
