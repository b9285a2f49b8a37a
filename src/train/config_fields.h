#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pfc/train/config.h"

namespace pfc {

/// Which numbers a key accepts. Infinities and NaN are never among them.
struct Range {
  double low = std::numeric_limits<double>::lowest();
  double high = std::numeric_limits<double>::max();
  bool above_low = false;   ///< `low` itself is out
  bool below_high = false;  ///< `high` itself is out

  bool holds(double value) const {
    return (above_low ? value > low : value >= low) && (below_high ? value < high : value <= high);
  }
};

/// Where a key's value lives; its type is the type that the key wants.
using Slot = std::variant<bool*, std::int64_t*, std::uint64_t*, double*, std::string*,
                          std::vector<std::int64_t>*, std::vector<std::string>*>;

/// What a run that is resumed may do with a key.
enum class OnResume {
  kFixed,  ///< keep it: the plan of what was done, or the shape of what was saved, depends on it
  kTold,   ///< change it, and say so: later steps compute something else, the earlier ones stay
  kFree,   ///< change it: where things lie, how fast they are made, what only a start reads
};

/// One key of a configuration: all that parsing, writing, resuming and the reference know about it.
struct Field {
  std::string_view key;  ///< `section.name`, or `name` for what stands before the sections
  Slot slot;
  OnResume on_resume;                     ///< has no default, so that no key can forget to say it
  Range range;                            ///< of numbers
  std::vector<std::string_view> choices;  ///< of strings; empty: any
  std::string_view meaning;

  std::string_view section() const { return key.substr(0, key.find('.') + 1); }  ///< with the dot
  std::string_view name() const { return key.substr(section().size()); }
};

/// Every key, bound to the values of `config`, in the order they are written.
std::vector<Field> fields(Config& config);

/// What a key accepts, in words: "a number from 0 to 1".
std::string wanted(const Field& field);
/// The value in TOML syntax.
std::string literal(const Field& field);

/// A basic TOML string: one line, whatever the text holds.
std::string toml_string(std::string_view text);
/// A TOML float that reads back as the same number.
std::string toml_number(double value);

}  // namespace pfc
