#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/whole_number.h"
#include "pfc/data/record_io.h"

namespace pfc {

/// 7 for "id_7", the name that `pfc data unpack` gives to the folder of an identity. Nothing for
/// "id_07", which is a different folder.
inline std::optional<std::int64_t> folder_number(std::string_view folder) {
  if (!folder.starts_with("id_")) return std::nullopt;
  const auto number = whole_number<std::int64_t>(folder.substr(3));
  const bool is_one = number && *number < kMostIdentities;
  return is_one && folder.substr(3) == std::to_string(*number) ? number : std::nullopt;
}

/// Whether these folders come from an unpacked set, so that their numbers are its identities.
inline bool are_numbered(const std::vector<std::string>& folders) {
  return std::ranges::all_of(
      folders, [](const std::string& name) { return folder_number(name).has_value(); });
}

}  // namespace pfc
