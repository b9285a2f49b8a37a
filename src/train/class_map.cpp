#include "train/class_map.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <utility>

#include "base/shown.h"
#include "data/text_lines.h"
#include "pfc/base/error.h"
#include "pfc/data/list_name.h"

namespace pfc {
namespace {

constexpr std::string_view kSpace = " \t";

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(kSpace)));
  text.remove_suffix(text.size() - (text.find_last_not_of(kSpace) + 1));
  return text;
}

/// Positions of `values` in ascending order; empty if they are already in order.
template <class T>
std::vector<std::int64_t> order_of(const std::vector<T>& values) {
  if (std::ranges::is_sorted(values)) return {};
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::int64_t i) { return values[static_cast<std::size_t>(i)]; });
  return order;
}

/// Finds the class of an identity, by its number or by its name as lists write it.
class ClassFinder {
 public:
  explicit ClassFinder(const ClassIdentities& identities) : identities_(identities) {
    for (const std::string& name : identities.names) names_.push_back(list_name(name));
    order_ = identities.have_names() ? order_of(names_) : order_of(identities.numbers);
  }

  /// -1 if there is none.
  std::int64_t of_number(std::int64_t number) const {
    if (!identities_.are_classes()) return find(identities_.numbers, number);
    return number < identities_.classes ? number : -1;
  }
  std::int64_t of_name(std::string_view name) const { return find(names_, name); }

  /// The class for the text in a line of a map.
  std::int64_t of_text(std::string_view text) const {
    if (identities_.have_names()) return of_name(text);
    std::int64_t number = -1;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end)
      throw Error("found " + shown(text) + ", want the number of an identity");
    if (number < 0 || number >= identities_.below) {
      throw Error("identity " + std::to_string(number) + ", want 0 to " +
                  std::to_string(identities_.below - 1));
    }
    return of_number(number);
  }

 private:
  template <class T, class Value>
  std::int64_t find(const std::vector<T>& values, const Value& value) const {
    const auto at = [&](std::int64_t i) -> const T& {
      return values[static_cast<std::size_t>(order_.empty() ? i
                                                            : order_[static_cast<std::size_t>(i)])];
    };
    std::int64_t low = 0, high = std::ssize(values);
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (at(middle) < value) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == std::ssize(values) || at(low) != value) return -1;
    return order_.empty() ? low : order_[static_cast<std::size_t>(low)];
  }

  const ClassIdentities& identities_;
  std::vector<std::string> names_;
  std::vector<std::int64_t> order_;
};

/// The two halves of a line.
std::optional<std::pair<std::string_view, std::string_view>> halves(std::string_view line) {
  for (const std::string_view separators : {"\t", ",", " "}) {
    const std::size_t at = line.find_first_of(separators);
    if (at == line.npos) continue;
    const auto first = trimmed(line.substr(0, at)), second = trimmed(line.substr(at + 1));
    if (!first.empty() && !second.empty()) return std::pair(first, second);
  }
  return std::nullopt;
}

/// Calls body(identity, identity there). An error that it throws is reported with the line.
template <class Body>
void for_each_pair(std::string_view text, const std::string& name, const Body& body) {
  for (Lines lines(text, name); lines.next();) {
    const std::string_view line = trimmed(lines.line());
    if (line.empty() || line.front() == '#') continue;
    try {
      const auto both = halves(line);
      if (!both) throw Error("want two identities, \"identity, identity there\"");
      body(both->first, both->second);
    } catch (const Error& error) {
      throw DataError(name, "line " + std::to_string(lines.number()), error.what());
    }
  }
}

}  // namespace

ClassMap same_identities(const ClassIdentities& here, const ClassIdentities& there) {
  if (here.have_names() != there.have_names()) {
    const auto called = [](const ClassIdentities& each) {
      return each.have_names() ? "by the names of folders" : "by numbers";
    };
    throw Error(std::string("this set calls its identities ") + called(here) + ", the other one " +
                called(there) +
                ": set init.class_map to a file with a line 'identity, identity there' for each");
  }
  const ClassFinder finder(there);
  ClassMap map{.there = std::vector<std::int64_t>(static_cast<std::size_t>(here.classes))};
  for (std::size_t c = 0; c < map.there.size(); ++c) {
    map.there[c] =
        here.have_names()
            ? finder.of_name(list_name(here.names[c]))
            : finder.of_number(here.are_classes() ? static_cast<std::int64_t>(c) : here.numbers[c]);
  }
  return map;
}

void require_class_map(std::string_view text, const std::string& name) {
  for_each_pair(text, name, [](std::string_view, std::string_view) {});
}

ClassMap parse_class_map(std::string_view text, const std::string& name,
                         const ClassIdentities& here, const ClassIdentities& there) {
  const ClassFinder find_here(here), find_there(there);
  ClassMap map{.there = std::vector<std::int64_t>(static_cast<std::size_t>(here.classes), -1)};
  for_each_pair(text, name, [&](std::string_view identity, std::string_view identity_there) {
    const std::int64_t c = find_here.of_text(identity), other = find_there.of_text(identity_there);
    if (c < 0 || other < 0) {
      ++map.unknown;
      return;
    }
    std::int64_t& taken = map.there[static_cast<std::size_t>(c)];
    if (taken >= 0) throw Error("this identity came before");
    taken = other;
  });
  return map;
}

}  // namespace pfc
