#include "pfc/base/field.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <type_traits>

namespace pfc {
namespace {

/// The shortest decimal that reads back as the same number; without an exponent where it is
/// readable so.
std::string shortest(double value) {
  const double size = std::abs(value);
  const bool readable = size == 0 || (size >= 1e-5 && size < 1e16);
  std::array<char, 40> text;
  const auto format = readable ? std::chars_format::fixed : std::chars_format::general;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, format).ptr;
  return {text.data(), end};
}

std::string in_words(const Range& range) {
  const bool bounded_below = range.low > std::numeric_limits<double>::lowest();
  const bool bounded_above = range.high < std::numeric_limits<double>::max();
  if (!bounded_below) return "";
  if (range.below_high) return " from " + shortest(range.low) + " to below " + shortest(range.high);
  if (range.above_low)
    return " above " + shortest(range.low) + " and up to " + shortest(range.high);
  if (bounded_above) return " from " + shortest(range.low) + " to " + shortest(range.high);
  return " of at least " + shortest(range.low);
}

std::string toml(bool value) {
  return value ? "true" : "false";
}
std::string toml(std::int64_t value) {
  return std::to_string(value);
}
std::string toml(std::uint64_t value) {
  return std::to_string(value);
}
std::string toml(double value) {
  return toml_number(value);
}
std::string toml(const std::string& value) {
  return toml_string(value);
}
std::string toml(const StepwiseNumber& value) {
  if (value.is_constant()) return toml(value.at(0));
  std::string text = "[";
  for (const auto& [from, number] : value.pieces())
    text += (from > 0 ? ", [" : "[") + toml(from) + ", " + toml(number) + "]";
  return text + "]";
}
template <typename T>
std::string toml(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += (text.size() > 1 ? ", " : "") + toml(value);
  return text + "]";
}
std::string toml(const NamedValues& values) {
  return toml_table(values);
}
std::string toml(const EnumSlot& slot) {
  return toml_string(slot.get(slot.value));
}
template <typename T>
std::string toml(T* slot) {
  return toml(std::as_const(*slot));
}

}  // namespace

namespace key {

Field choice(std::string key, std::string& value, OnResume on_resume,
             std::vector<std::string_view> choices, std::string meaning) {
  return {std::move(key), &value, on_resume, {}, std::move(choices), std::move(meaning)};
}

Field choices(std::string key, std::vector<std::string>& values, OnResume on_resume,
              std::vector<std::string_view> choices, std::string meaning) {
  return {std::move(key), &values, on_resume, {}, std::move(choices), std::move(meaning)};
}

Field number(std::string key, ValueSlot slot, OnResume on_resume, Range range,
             std::string meaning) {
  return {std::move(key), slot, on_resume, range, {}, std::move(meaning)};
}

Field any(std::string key, ValueSlot slot, OnResume on_resume, std::string meaning) {
  return {std::move(key), slot, on_resume, {}, {}, std::move(meaning)};
}

}  // namespace key

std::string wanted(const Field& field) {
  if (!field.choices.empty()) {
    const bool is_list = std::holds_alternative<std::vector<std::string>*>(field.slot);
    std::string text = is_list ? "a list out of" : "one of";
    const char* separator = " ";
    for (const std::string_view each : field.choices) {
      text += separator + std::string(each);
      separator = ", ";
    }
    return text;
  }
  const std::string range = in_words(field.range);
  return std::visit(
      [&](auto slot) -> std::string {
        using T = std::remove_pointer_t<decltype(slot)>;
        if constexpr (std::is_same_v<T, bool>) return "true or false";
        if constexpr (std::is_integral_v<T>) return "an integer" + range;
        if constexpr (std::is_same_v<T, double>) return "a number" + range;
        if constexpr (std::is_same_v<T, StepwiseNumber>)
          return "a number" + range + ", or a list of [step, number] from step 0 on, ascending";
        if constexpr (std::is_same_v<T, std::string>) return "a string";
        if constexpr (std::is_same_v<T, std::vector<std::int64_t>>)
          return "a list of integers, each" + range;
        if constexpr (std::is_same_v<T, NamedValues>)
          return "a table whose values are booleans, numbers or strings";
        return "a list of strings";
      },
      field.slot);
}

std::string literal(const Field& field) {
  return std::visit([](auto slot) { return toml(slot); }, field.slot);
}

std::string toml_table(const NamedValues& values) {
  std::string text;
  for (const auto& [name, value] : values) {
    text += (text.empty() ? " " : ", ") + name + " = " +
            std::visit([](const auto& each) { return toml(each); }, value);
  }
  return text.empty() ? "{}" : "{" + text + " }";
}

std::string_view kind_of(const NamedValue& value) {
  if (std::holds_alternative<bool>(value)) return "true or false";
  if (std::holds_alternative<std::int64_t>(value)) return "an integer";
  return std::holds_alternative<double>(value) ? "a number" : "a string";
}

std::string toml_number(double value) {
  std::string text = shortest(value);
  if (text.find_first_of(".en") == std::string::npos)
    text += ".0";  // else it would read as an integer
  return text;
}

std::string toml_string(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (byte < 0x20 || byte == 0x7f) {
      std::array<char, 8> escape;
      std::snprintf(escape.data(), escape.size(), "\\u%04X", static_cast<unsigned>(byte));
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace pfc
