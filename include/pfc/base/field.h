#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pfc/base/names.h"
#include "pfc/base/stepwise_number.h"

namespace pfc {

/// The range of numbers that a key accepts. Infinities and NaN are never accepted.
struct Range {
  double low = std::numeric_limits<double>::lowest();
  double high = std::numeric_limits<double>::max();
  bool above_low = false;   ///< `low` itself is excluded
  bool below_high = false;  ///< `high` itself is excluded

  bool holds(double value) const {
    return (above_low ? value > low : value >= low) && (below_high ? value < high : value <= high);
  }
};

/// Where an enum's value is stored. The configuration has it by its name.
struct EnumSlot {
  void* value;
  std::string_view (*get)(const void* value);
  void (*set)(void* value, std::string_view name);  ///< `name` must be one of the enum's
};

template <HasNames E>
EnumSlot enum_slot(E& value) {
  return {&value, [](const void* at) { return name_of(*static_cast<const E*>(at)); },
          [](void* at, std::string_view name) { *static_cast<E*>(at) = *value_named<E>(name); }};
}

/// Values by names that the configuration does not know, such as the settings of a network that a
/// program registered.
using NamedValue = std::variant<bool, std::int64_t, double, std::string>;
using NamedValues = std::map<std::string, NamedValue, std::less<>>;

/// Where a key's value lives; its type is the type that the key wants.
using ValueSlot =
    std::variant<bool*, std::int64_t*, std::uint64_t*, double*, StepwiseNumber*, std::string*,
                 EnumSlot, std::vector<std::int64_t>*, std::vector<std::string>*, NamedValues*>;

/// What a resumed run may do with a key.
enum class OnResume {
  kFixed,  ///< keep it: the plan of finished steps, or the shape of saved data, depends on it
  kTold,   ///< change it, with a message: later steps compute something else, finished steps stay
  kFree,   ///< change it: paths, speed, and what is read only at the start of a run
};

/// One key of a configuration: everything that parsing, writing, resuming and the reference need to
/// know.
struct Field {
  std::string
      key;  ///< `section.name`, `section.part.name`, or `name` for what stands before the sections
  ValueSlot slot;
  OnResume on_resume;                          ///< has no default, so that no key can forget it
  Range range = {};                            ///< for numbers
  std::vector<std::string_view> choices = {};  ///< for strings and enums; empty: any string
  std::string meaning;

  std::string_view section() const {  ///< with the dot
    return std::string_view(key).substr(0, key.rfind('.') + 1);
  }
  std::string_view name() const { return std::string_view(key).substr(section().size()); }
};

/// Functions to make ranges and fields.
namespace key {

constexpr Range from(double low) {
  return {.low = low};
}
constexpr Range from_to(double low, double high) {
  return {.low = low, .high = high};
}
constexpr Range above_to(double low, double high) {
  return {.low = low, .high = high, .above_low = true};
}
constexpr Range from_below(double low, double high) {
  return {.low = low, .high = high, .below_high = true};
}

/// A key whose value is one of an enum's names.
template <HasNames E>
Field choice(std::string key, E& value, OnResume on_resume, std::string meaning) {
  return {std::move(key), enum_slot(value), on_resume, {}, names_of<E>(), std::move(meaning)};
}
/// A key whose value is one of a few strings.
Field choice(std::string key, std::string& value, OnResume on_resume,
             std::vector<std::string_view> choices, std::string meaning);
/// A key whose value is a list of strings out of a few.
Field choices(std::string key, std::vector<std::string>& values, OnResume on_resume,
              std::vector<std::string_view> choices, std::string meaning);
/// A key whose value is a number, a list of them, or a number by the step.
Field number(std::string key, ValueSlot slot, OnResume on_resume, Range range, std::string meaning);
/// A key that takes every value of its slot's type.
Field any(std::string key, ValueSlot slot, OnResume on_resume, std::string meaning);

}  // namespace key

/// What a key accepts, in words: "a number from 0 to 1".
std::string wanted(const Field& field);
/// The value in TOML syntax.
std::string literal(const Field& field);

/// A basic TOML string: one line, whatever the text contains.
std::string toml_string(std::string_view text);
/// As a table in a line: "{ depth = 3 }".
std::string toml_table(const NamedValues& values);
/// What kind of value it is, in words: "an integer".
std::string_view kind_of(const NamedValue& value);

/// A TOML float that reads back as the same number.
std::string toml_number(double value);

}  // namespace pfc
