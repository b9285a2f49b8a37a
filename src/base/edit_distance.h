#pragma once

#include <cstddef>
#include <string_view>

namespace pfc {

/// Levenshtein's: how many characters are put in, taken out or replaced to get from `a` to `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The one of `known` that is the fewest edits away; empty where there is none.
template <typename Names>
std::string_view nearest_name(std::string_view name, const Names& known) {
  std::string_view nearest;
  std::size_t least = std::string_view::npos;
  for (const std::string_view each : known) {
    if (const std::size_t far = edit_distance(name, each); far < least) {
      least = far;
      nearest = each;
    }
  }
  return nearest;
}

}  // namespace pfc
