#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pfc/base/names.h"

namespace pfc {

/// An option whose value is the name of an enum's; without it `value` stays what it is. `value`
/// must live until the arguments are parsed.
template <HasNames E>
CLI::Option* add_choice(CLI::App& command, const std::string& name, E& value,
                        const std::string& what) {
  std::vector<std::string> names;
  for (const std::string_view each : names_of<E>()) names.emplace_back(each);
  return command
      .add_option_function<std::string>(
          name, [&value](const std::string& text) { value = *value_named<E>(text); }, what)
      ->check(CLI::IsMember(names))
      ->default_str(std::string(name_of(value)));
}

}  // namespace pfc
