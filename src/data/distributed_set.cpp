#include "pfc/data/distributed_set.h"

#include <algorithm>
#include <set>

#include "base/toml_text.h"
#include "data/known_sets.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

std::string text_in(const toml::node& node, const std::string& key, std::string_view file) {
  const auto* value = node.as_string();
  if (value == nullptr || value->get().empty())
    place_of(file, node.source()).fail(key + ", want a text in quotation marks");
  return value->get();
}

/// A file name, and not a path that could lead out of a folder.
std::string file_name_in(const toml::node& node, std::string_view file) {
  std::string name = text_in(node, "name", file);
  if (name.find('/') != name.npos || name == "." || name == "..")
    place_of(file, node.source()).fail("\"" + name + "\", want a file's name without a folder");
  return name;
}

std::string md5_in(const toml::node& node, std::string_view file) {
  std::string md5 = text_in(node, "md5", file);
  const bool hex = std::ranges::all_of(
      md5, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (md5.size() != 32 || !hex)
    place_of(file, node.source()).fail("\"" + md5 + "\", want 32 digits of 0-9 and a-f");
  return md5;
}

[[noreturn]] void fail_unknown(const toml::key& key, const char* known, std::string_view file) {
  place_of(file, key.source())
      .fail("unknown key \"" + std::string(key.str()) + "\", want " + known);
}

std::vector<DistributedFile> files_in(const toml::node& node, std::string_view file) {
  const toml::array* tables = node.as_array();
  if (tables == nullptr) place_of(file, node.source()).fail("want tables, [[part]] or [[content]]");
  std::vector<DistributedFile> files;
  for (const toml::node& each : *tables) {
    const toml::table* table = each.as_table();
    if (table == nullptr) place_of(file, each.source()).fail("want a table with name and md5");
    DistributedFile& entry = files.emplace_back();
    for (const auto& [key, value] : *table) {
      if (key.str() == "name") {
        entry.name = file_name_in(value, file);
      } else if (key.str() == "md5") {
        entry.md5 = md5_in(value, file);
      } else {
        fail_unknown(key, "name or md5", file);
      }
    }
    if (entry.name.empty()) place_of(file, each.source()).fail("no name");
  }
  return files;
}

}  // namespace

DistributedSet parse_distributed_set(std::string_view text, const std::string& name) {
  DistributedSet set;
  for (const auto& [key, value] : parse_toml(text, name)) {
    if (key.str() == "name") {
      set.name = text_in(value, "name", name);
    } else if (key.str() == "title") {
      set.title = text_in(value, "title", name);
    } else if (key.str() == "part") {
      set.parts = files_in(value, name);
    } else if (key.str() == "content") {
      set.contents = files_in(value, name);
    } else {
      fail_unknown(key, "name, title, [[part]] or [[content]]", name);
    }
  }
  if (set.name.empty() || set.title.empty() || set.parts.empty())
    throw DataError(name, "whole file", "want name, title and one [[part]] at least");
  std::set<std::string> names;
  for (const DistributedFile& part : set.parts)
    if (!names.insert(part.name).second) throw DataError(name, part.name, "listed twice");
  return set;
}

const std::vector<DistributedSet>& known_distributed_sets() {
  static const std::vector<DistributedSet> sets = [] {
    std::vector<DistributedSet> parsed;
    parsed.reserve(kKnownSets.size());
    for (const char* text : kKnownSets) parsed.push_back(parse_distributed_set(text, "built in"));
    return parsed;
  }();
  return sets;
}

const DistributedSet& recognise_distributed_set(const fs::path& folder) {
  const DistributedSet* best = nullptr;
  std::ptrdiff_t most = 0;
  std::string known;
  for (const DistributedSet& set : known_distributed_sets()) {
    const auto there = std::ranges::count_if(set.parts, [&](const DistributedFile& part) {
      return fs::is_regular_file(folder / part.name);
    });
    if (there > most) best = &set, most = there;
    known += (known.empty() ? "" : "; ") + set.parts.front().name + ", … of " + set.title;
  }
  if (best == nullptr) {
    throw Error(folder.string() + ": no parts of a known set, which would be " + known +
                "; name another with --set FILE.toml");
  }
  return *best;
}

}  // namespace pfc
