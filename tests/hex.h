#pragma once

#include <cstddef>  // for std::byte
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// The bytes of "00ff…": small fixtures that were made once by other programs.
inline std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

}  // namespace pfc
