#include "pfc/align/landmark_file.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "data/shown.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using Json = nlohmann::json;

constexpr const char* kWanted = "\"NAME X1 Y1 X2 Y2 X3 Y3 X4 Y4 X5 Y5\"";

struct NamedLandmarks {
  std::string_view name;
  Landmarks landmarks;
};

/// Takes a field off the front of `line`.
std::string_view take_field(std::string_view& line, char separator) {
  if (separator == ' ') line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::size_t end = std::min(line.find(separator), line.size());
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return field;
}

std::optional<NamedLandmarks> parse_line(std::string_view line) {
  const char separator = line.find('\t') != line.npos ? '\t' : ' ';
  NamedLandmarks result{take_field(line, separator), {}};
  for (Point& point : result.landmarks) {
    for (double* value : {&point.x, &point.y}) {
      const std::string_view field = take_field(line, separator);
      const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), *value);
      if (error != std::errc{} || end != field.data() + field.size()) return std::nullopt;
    }
  }
  return result;
}

std::string_view line_at(std::string_view text, std::size_t begin) {
  std::string_view line = text.substr(begin, std::min(text.find('\n', begin), text.size()) - begin);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::uint64_t hash_of(std::string_view name) {
  return XXH3_64bits(name.data(), name.size());
}

bool looks_like_json(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != text.npos && text[first] == '{';
}

std::string line_of(const std::string& name, const Json& points, const std::string& file) {
  const auto fail = [&] {
    throw DataError(file, printable(name), "want five points, [[X1, Y1], …, [X5, Y5]]");
  };
  if (name.find_first_of("\t\n") != name.npos)
    throw DataError(file, printable(name), "a name with a tab or a new line in it");
  if (!points.is_array() || points.size() != Landmarks().size()) fail();
  std::string line = name;
  for (const Json& point : points) {
    if (!point.is_array() || point.size() != 2) fail();
    for (const Json& value : point) {
      if (!value.is_number()) fail();
      line += format("\t%.17g", value.get<double>());
    }
  }
  return line + "\n";
}

/// As lines of text.
std::string text_of_json(std::string_view text, const std::string& file) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw DataError(file, "JSON", error.what());
  }
  std::string lines;
  for (const auto& [name, points] : json.items()) lines += line_of(name, points, file);
  return lines;
}

}  // namespace

LandmarkFile LandmarkFile::open(const std::filesystem::path& path) {
  MappedFile mapped(path);
  LandmarkFile file(mapped.bytes(), path.string());
  file.mapped_ = std::move(mapped);
  return file;
}

LandmarkFile LandmarkFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  return {bytes, name};
}

LandmarkFile::LandmarkFile(std::span<const std::byte> bytes, const std::string& name)
    : text_(reinterpret_cast<const char*>(bytes.data()), bytes.size()) {
  if (looks_like_json(text_)) {
    json_as_text_ = std::make_unique<const std::string>(text_of_json(text_, name));
    text_ = *json_as_text_;
  }
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < text_.size();
       begin = std::min(text_.find('\n', begin), text_.size() - 1) + 1) {
    ++number;
    const std::string_view line = line_at(text_, begin);
    if (line.empty() || line.front() == '#') continue;
    const auto parsed = parse_line(line);
    if (!parsed || parsed->name.empty()) {
      throw DataError(name, "line " + std::to_string(number),
                      "found " + shown(line) + ", want " + kWanted);
    }
    lines_.push_back({hash_of(parsed->name), begin});
  }
  if (lines_.empty()) throw DataError(name, "whole file", "no landmarks");
  std::ranges::sort(lines_, {}, [](const Line& line) { return std::pair(line.hash, line.begin); });
  for (std::size_t i = 1; i < lines_.size(); ++i) {
    if (lines_[i].hash != lines_[i - 1].hash) continue;
    const std::string_view twice = parse_line(line_at(text_, lines_[i].begin))->name;
    if (twice == parse_line(line_at(text_, lines_[i - 1].begin))->name)
      throw DataError(name, printable(twice), "listed twice");
  }
}

std::optional<Landmarks> LandmarkFile::find(std::string_view name) const {
  for (auto line = std::ranges::lower_bound(lines_, hash_of(name), {}, &Line::hash);
       line != lines_.end() && line->hash == hash_of(name); ++line) {
    const auto found = parse_line(line_at(text_, line->begin));
    if (found->name == name) return found->landmarks;
  }
  return std::nullopt;
}

}  // namespace pfc
