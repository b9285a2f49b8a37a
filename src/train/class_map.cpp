#include "train/class_map.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "data/text_lines.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

constexpr std::string_view kSpace = " \t";

/// Takes a number off the front of `line`, and what separates it from the next.
std::int64_t take_number(std::string_view& line, std::int64_t below) {
  std::int64_t value = -1;
  const char* const end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data(), end, value);
  if (error != std::errc()) throw Error("want two numbers, \"class, class there\"");
  if (value < 0 || value >= below) {
    throw Error("class " + std::to_string(value) + ", want 0 to " + std::to_string(below - 1));
  }
  line.remove_prefix(static_cast<std::size_t>(stop - line.data()));
  line.remove_prefix(std::min(line.size(), line.find_first_not_of(kSpace)));
  return value;
}

}  // namespace

std::vector<std::int64_t> parse_class_map(std::string_view text, std::string_view name,
                                          std::int64_t classes, std::int64_t others) {
  std::vector<std::int64_t> map(static_cast<std::size_t>(classes), -1);
  const std::string file(name);
  for (Lines lines(text, file); lines.next();) {
    std::string_view line = lines.line();
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(kSpace)));
    if (line.empty() || line.front() == '#') continue;
    try {
      std::int64_t& other = map[static_cast<std::size_t>(take_number(line, classes))];
      if (other >= 0) throw Error("this class came before");
      if (line.starts_with(',')) {
        line.remove_prefix(1);
        line.remove_prefix(std::min(line.size(), line.find_first_not_of(kSpace)));
      }
      other = take_number(line, others);
      if (!line.empty()) throw Error("more than two numbers");
    } catch (const Error& error) {
      throw DataError(name, "line " + std::to_string(lines.number()), error.what());
    }
  }
  return map;
}

}  // namespace pfc
