#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace pfc {

/// The whole number, at least 0, that all of `text` spells, if T can hold it.
template <class T>
std::optional<T> whole_number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

}  // namespace pfc
