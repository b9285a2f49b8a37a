#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace pfc {

/// The names of an enum's values, for configurations, options and messages. Specialised beside the
/// enum:
///
///     template <>
///     struct Names<Sampling> {
///       static constexpr auto kAll = named_values<Sampling>(
///           {{Sampling::kStratified, "stratified"}, {Sampling::kUniform, "uniform"}});
///     };
template <typename E>
struct Names;

template <typename E>
using Named = std::pair<E, std::string_view>;

/// Makes the table of `Names`, in the order in which messages list the names.
template <typename E, std::size_t N>
constexpr std::array<Named<E>, N> named_values(const Named<E> (&values)[N]) {
  std::array<Named<E>, N> all;
  for (std::size_t i = 0; i < N; ++i) all[i] = values[i];
  return all;
}

template <typename E>
concept HasNames = requires {
  Names<E>::kAll;
};

/// A choice that may be left to the program: "auto" means no value.
template <HasNames E>
struct Names<std::optional<E>> {
  static constexpr auto kAll = [] {
    std::array<Named<std::optional<E>>, Names<E>::kAll.size() + 1> all;
    all[0] = {std::nullopt, "auto"};
    for (std::size_t i = 1; i < all.size(); ++i)
      all[i] = {Names<E>::kAll[i - 1].first, Names<E>::kAll[i - 1].second};
    return all;
  }();
};

template <HasNames E>
constexpr std::string_view name_of(E value) {
  for (const auto& [each, name] : Names<E>::kAll)
    if (each == value) return name;
  return "";  // not a value of the enum
}

/// The value of that name, or nothing.
template <HasNames E>
constexpr std::optional<E> value_named(std::string_view name) {
  for (const auto& [value, each] : Names<E>::kAll)
    if (each == name) return value;
  return std::nullopt;
}

template <HasNames E>
std::vector<std::string_view> names_of() {
  std::vector<std::string_view> names;
  names.reserve(Names<E>::kAll.size());
  for (const auto& [value, name] : Names<E>::kAll) names.push_back(name);
  return names;
}

}  // namespace pfc
