#include "pfc/train/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <type_traits>

#include "base/edit_distance.h"
#include "base/toml_text.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "train/config_fields.h"

namespace pfc {
namespace {

/// One line and not too long, whatever the text holds.
std::string excerpt(const std::string& text) {
  constexpr std::size_t kMost = 80;
  if (text.size() <= kMost) return toml_string(text);
  std::size_t end = kMost;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not inside a UTF-8 character
  return toml_string(text.substr(0, end)) + "…";
}

std::string shown(const toml::node& node) {
  if (const auto* value = node.as_string()) return "the string " + excerpt(value->get());
  if (const auto* value = node.as_integer()) return std::to_string(value->get());
  if (const auto* value = node.as_floating_point()) return toml_number(value->get());
  if (const auto* value = node.as_boolean()) return value->get() ? "true" : "false";
  if (node.is_table()) return "a table";
  if (node.is_array()) return "a list";
  return "a date or time";
}

/// Suggests the nearest key: compared as a whole, and by name alone for a key in the wrong section.
[[noreturn]] void fail_unknown(const std::string& key, const std::vector<Field>& known,
                               const Place& place) {
  const std::string_view name = std::string_view(key).substr(key.rfind('.') + 1);
  std::string_view nearest;
  std::size_t least = std::string::npos;
  for (const Field& field : known) {
    const std::size_t far =
        std::min(edit_distance(key, field.key), edit_distance(name, field.name()) + 1);
    if (far < least) {
      least = far;
      nearest = field.key;
    }
  }
  place.fail("unknown key " + excerpt(key) + "; the nearest known key is " + std::string(nearest));
}

[[noreturn]] void fail_unknown_section(const std::string& name, const std::vector<Field>& known,
                                       const Place& place) {
  std::string_view nearest;
  std::size_t least = std::string::npos;
  for (const Field& field : known) {
    if (field.section().empty()) continue;
    const std::string_view section = field.section().substr(0, field.section().size() - 1);
    if (const std::size_t far = edit_distance(name, section); far < least) {
      least = far;
      nearest = section;
    }
  }
  place.fail("unknown section " + excerpt(name) + "; the nearest known section is " +
             std::string(nearest));
}

/// The node's string where it is one of the field's choices.
std::optional<std::string> chosen(const toml::node& node, const Field& field) {
  auto value = node.value_exact<std::string>();
  const auto& choices = field.choices;
  if (value && !choices.empty() && std::ranges::find(choices, *value) == choices.end()) return {};
  return value;
}

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

/// The number by the step that a list of [step, number] gives.
std::optional<StepwiseNumber> accepted_by_step(const toml::array& list, const Field& field) {
  std::vector<StepwiseNumber::Piece> pieces;
  for (const toml::node& item : list) {
    const toml::array* pair = item.as_array();
    if (!pair || pair->size() != 2) return std::nullopt;
    const auto from = pair->get(0)->value_exact<std::int64_t>();
    const auto value = pair->get(1)->value<double>();
    if (!from || !pair->get(1)->is_number() || !field.range.holds(*value)) return std::nullopt;
    pieces.push_back({.from = *from, .value = *value});
  }
  if (!StepwiseNumber::are_in_order(pieces)) return std::nullopt;
  return StepwiseNumber(std::move(pieces));
}

/// The node's value if it is a T that the field accepts.
template <typename T>
std::optional<T> accepted(const toml::node& node, const Field& field) {
  if constexpr (IsVector<T>::value) {
    T values;
    if (const toml::array* list = node.as_array()) {
      for (const toml::node& item : *list) {
        auto value = accepted<typename T::value_type>(item, field);
        if (!value) return std::nullopt;
        values.push_back(std::move(*value));
      }
    } else if (auto value = accepted<typename T::value_type>(node, field)) {
      values.push_back(std::move(*value));  // a list of one value needs no brackets
    } else {
      return std::nullopt;
    }
    return values;
  } else if constexpr (std::is_same_v<T, StepwiseNumber>) {
    if (node.is_array()) return accepted_by_step(*node.as_array(), field);
    return accepted<double>(node, field);
  } else if constexpr (std::is_same_v<T, bool>) {
    return node.value_exact<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    auto value = chosen(node, field);
    if (value) value = expand_home(std::move(*value));  // only a path can begin like this
    return value;
  } else {
    std::optional<double> number;
    const auto integer = node.value_exact<std::int64_t>();
    if (integer) number = static_cast<double>(*integer);
    if constexpr (std::is_floating_point_v<T>) {
      if (!integer) number = node.value_exact<double>();
    }
    if (!number || !field.range.holds(*number)) return std::nullopt;
    return integer ? static_cast<T>(*integer) : static_cast<T>(*number);
  }
}

/// The name of an option, which is written without quotes.
bool is_bare(std::string_view name) {
  const auto belongs = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-';
  };
  return !name.empty() && std::ranges::all_of(name, belongs);
}

/// Whether the node is what the field accepts; then the slot has its value.
template <typename T>
bool take(const toml::node& node, const Field& field, T* slot) {
  auto value = accepted<T>(node, field);
  if (value) *slot = std::move(*value);
  return value.has_value();
}
bool take(const toml::node& node, const Field& field, const EnumSlot& slot) {
  const auto name = chosen(node, field);
  if (name) slot.set(slot.value, *name);
  return name.has_value();
}

bool take(const toml::node&, const Field&, NamedValues*) {
  return false;  // assign_named
}

/// `name` in the field's table.
void assign_named(const Field& field, const std::string& name, const toml::node& node,
                  const Place& place) {
  if (!is_bare(name)) {
    place.fail(field.key + " has the name " + excerpt(name) + ", want letters, digits, - and _");
  }
  const auto value = named_value(node);
  if (!value) {
    place.fail(field.key + "." + name + " is " + shown(node) +
               ", want true or false, a number or a string");
  }
  (*std::get<NamedValues*>(field.slot))[name] = *value;
}

void assign(const Field& field, const toml::node& node, const Place& place) {
  if (const toml::table* table = node.as_table();
      table != nullptr && std::holds_alternative<NamedValues*>(field.slot)) {
    for (const auto& [name, each] : *table)
      assign_named(field, std::string(name.str()), each, place_of(place.file, name.source()));
    return;
  }
  if (!std::visit([&](auto slot) { return take(node, field, slot); }, field.slot))
    place.fail(field.key + " is " + shown(node) + ", want " + wanted(field));
}

/// The values of one source (a file, or all the overrides), applied over those of earlier sources.
class Source {
 public:
  explicit Source(Config& config) : config_(config), fields_(fields(config)) {}

  /// The field of that key, or nothing.
  const Field* find(std::string_view key) const {
    const auto found = std::ranges::find(fields_, key, &Field::key);
    return found == fields_.end() ? nullptr : &*found;
  }
  bool is_section(const std::string& name) const {
    return std::ranges::any_of(
        fields_, [&](const Field& field) { return field.key.starts_with(name + "."); });
  }
  /// The field of whose table `key` names an entry, or nothing.
  const Field* find_table(std::string_view key) const {
    const auto holds = [&](const Field& field) {
      return std::holds_alternative<NamedValues*>(field.slot) && key.size() > field.key.size() &&
             key.starts_with(field.key) && key[field.key.size()] == '.';
    };
    const auto found = std::ranges::find_if(fields_, holds);
    return found == fields_.end() ? nullptr : &*found;
  }
  const std::vector<Field>& known() const { return fields_; }

  void set(const Field& field, const toml::node& node, const Place& place) {
    assign(field, node, place);
    if (field.key == "train.epochs") epochs_ = place;
    if (field.key == "train.steps") steps_ = place;
  }

  /// The length of a run is given by its epochs or its steps, whichever was set last.
  void settle_length() const {
    const bool by_epochs = epochs_ && config_.train.epochs > 0;
    const bool by_steps = steps_ && config_.train.steps > 0;
    if (by_epochs && by_steps) {
      steps_->fail("train.steps and train.epochs are both set, want one of them");
    }
    if (by_steps) config_.train.epochs = 0;
    if (by_epochs) config_.train.steps = 0;
    if (config_.train.epochs == 0 && config_.train.steps == 0) {
      (steps_ ? *steps_ : *epochs_).fail("train.steps and train.epochs are both 0, want one above");
    }
  }

 private:
  Config& config_;
  std::vector<Field> fields_;
  std::optional<Place> epochs_, steps_;
};

/// `prefix`: the section that the table is, with the dot.
void apply_section(const toml::table& table, const std::string& prefix, std::string_view file,
                   Source& source) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str()), path = prefix + name;
    const Place place = place_of(file, key.source());
    if (path == "base") continue;
    const bool is_one_name = name.find('.') == name.npos;  // "a.b" in quotes is no key of [a]
    if (const Field* field = source.find(path); field && is_one_name) {
      source.set(*field, node, place);
    } else if (is_one_name && source.is_section(path)) {
      const toml::table* section = node.as_table();
      if (!section) place.fail(path + " is " + shown(node) + ", want a section [" + path + "]");
      apply_section(*section, path + ".", file, source);
    } else if (prefix.empty() && node.is_table()) {
      fail_unknown_section(name, source.known(), place);
    } else {
      fail_unknown(path, source.known(), place);
    }
  }
}

void apply_table(const toml::table& table, std::string_view file, Config& config) {
  Source source(config);
  apply_section(table, "", file, source);
  source.settle_length();
}

/// `heirs`: the files whose `base` led here, beginning with the first.
void apply_file(const std::filesystem::path& path, std::vector<std::filesystem::path>& heirs,
                Config& config) {
  const toml::table table = parse_toml(read_file(path), path.string());
  std::error_code unresolved;  // for example of a pipe; then nothing can lead back to it either
  heirs.push_back(std::filesystem::canonical(path, unresolved));
  if (const toml::node* base = table.get("base")) {
    const Place place = place_of(path.string(), base->source());
    const auto name = base->value_exact<std::string>();
    if (!name) place.fail("base is " + shown(*base) + ", want the path of a file as a string");
    const std::filesystem::path next = path.parent_path() / expand_home(*name);
    std::error_code missing;
    const auto file = std::filesystem::canonical(next, missing);
    if (missing) place.fail("base is " + excerpt(*name) + ", but there is no " + next.string());
    if (std::ranges::find(heirs, file) != heirs.end()) {
      place.fail("base is " + excerpt(*name) + ", which leads back to " + file.string());
    }
    apply_file(next, heirs, config);
  }
  apply_table(table, path.string(), config);
}

/// The single value of `value = text`, or nothing.
std::optional<toml::table> parse_value(const std::string& text) {
  try {
    toml::table table = parse_toml("value = " + text, "--set");
    if (table.size() == 1) return table;
  } catch (const DataError&) {  // no TOML, so a bare string
  }
  return std::nullopt;
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

void apply_overrides(const std::vector<std::string>& overrides, Config& config) {
  Source source(config);
  for (const std::string& each : overrides) {
    const auto equals = each.find('=');
    if (equals == std::string::npos) {
      throw UsageError("--set wants key=value, found " + excerpt(each));
    }
    const std::string key = trimmed(each.substr(0, equals)),
                      text = trimmed(each.substr(equals + 1));
    const Place place{"--set", excerpt(each)};
    const Field* table = source.find_table(key);
    const Field* field = table ? table : source.find(key);
    if (!field) fail_unknown(key, source.known(), place);

    const bool text_is_wanted = std::holds_alternative<std::string*>(field->slot) ||
                                std::holds_alternative<EnumSlot>(field->slot) ||
                                std::holds_alternative<std::vector<std::string>*>(field->slot);
    auto value = parse_value(text);
    // A folder may be named 2024 or true. So for a string, only quoted text and lists are TOML.
    const bool bare = !value || (text_is_wanted && !value->get("value")->is_string() &&
                                 !value->get("value")->is_array());
    if (bare) value = parse_value(toml_string(text));
    if (!value) place.fail("the value cannot be read as text");
    if (table) {
      assign_named(*table, key.substr(table->key.size() + 1), *value->get("value"), place);
    } else {
      source.set(*field, *value->get("value"), place);
    }
  }
  source.settle_length();
}

/// Checks that concern more than one key.
void check(const Config& config, std::string_view name) {
  if (config.output.empty()) throw DataError(name, "output", "is empty, want a folder");
  const Loss loss = config.head.loss();
  if (const std::string wrong = wrong_with(loss); !wrong.empty())
    throw DataError(name, "head.margin", wrong);
  for (const std::string& each : config.data.augment) {
    if (std::ranges::count(config.data.augment, each) > 1)
      throw DataError(name, "data.augment", "has " + each + " more than once");
  }
  const auto& milestones = config.schedule.milestones;
  if (std::ranges::adjacent_find(milestones, std::greater_equal{}) != milestones.end()) {
    throw DataError(name, "schedule.milestones", "are not ascending");
  }
  if (config.schedule.kind == Decay::kStep && milestones.empty()) {
    throw DataError(name, "schedule.milestones", "are empty, but schedule.kind is step");
  }
  if (config.optimizer.kind != CenterOptimizer::Kind::kSgd &&
      config.head.update == CenterOptimizer::Update::kDenseEquivalent) {
    throw DataError(name, "head.update",
                    "is dense_equivalent, which is SGD's, but optimizer.kind is " +
                        std::string(name_of(config.optimizer.kind)) + "; use head.update=sampled");
  }
}

}  // namespace

Config load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  Config config;
  std::vector<std::filesystem::path> heirs;
  apply_file(path, heirs, config);
  apply_overrides(overrides, config);
  check(config, path.string());
  return config;
}

Config parse_config(std::string_view text, std::string_view name,
                    const std::vector<std::string>& overrides) {
  Config config;
  const toml::table table = parse_toml(text, name);
  if (const toml::node* base = table.get("base")) {
    place_of(name, base->source()).fail("base stands in text that has no folder");
  }
  apply_table(table, name, config);
  apply_overrides(overrides, config);
  check(config, name);
  return config;
}

}  // namespace pfc
