#include "pfc/align/landmark_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#define XXH_INLINE_ALL  // its header is all that is needed
#include <xxhash.h>

#include "base/shown.h"
#include "data/text_lines.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kPointNumbers = 10;  // x and y of five points
constexpr int kMostBefore = 7;             // a label, a box and a score, and one more
constexpr int kMostHeadings = 2;
constexpr const char* kWanted =
    "a picture's name and five points, \"NAME X1 Y1 … X5 Y5\"; a label, a box or a score may stand "
    "before or after the points";

// Limits of the misfit (see there). Faces that look at the camera have 0.01, a full profile 0.5.
// For most faces whose points are read in a wrong order or from a wrong column it is 0.2 or more,
// for random points 0.8.
constexpr double kSurelyFaces = 0.2;       // for a list that is not read in the plainest way
constexpr double kNoListOfFaces = 0.5;     // for a list
constexpr double kLooksLikeNoFace = 0.65;  // for one line

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct ListField {
  std::string_view text;
  std::optional<double> number;
};

/// Splits a line into fields. A field of several numbers ("NAME<tab>X1 Y1 X2 Y2 …") becomes
/// several.
std::vector<ListField> fields_of(std::string_view line, char separator) {
  const auto is_number = [](const ListField& field) { return field.number.has_value(); };
  std::vector<ListField> fields;
  for (const std::string_view text : split(line, separator)) {
    fields.push_back({text, number_in(text)});
    if (separator == ' ' || fields.back().number) continue;
    std::vector<ListField> parts;
    for (const std::string_view part : split(text, ' ')) parts.push_back({part, number_in(part)});
    if (!std::ranges::all_of(parts, is_number)) continue;
    fields.pop_back();
    fields.insert(fields.end(), parts.begin(), parts.end());
  }
  return fields;
}

/// A line split into a name and its longest run of numbers.
struct ParsedLine {
  std::string_view name;
  std::vector<double> numbers;
};

/// The name is the first field before the run that is not a number ("1 NAME LABEL …"). If there is
/// none, it is the first field after the run; if all fields are numbers, the first field.
ParsedLine parse_line(std::string_view line, char separator) {
  const std::vector<ListField> fields = fields_of(line, separator);
  const auto is_text = [](const ListField& field) { return !field.number; };
  auto first = fields.begin(), last = first;  // of the longest run
  for (auto begin = fields.begin(); begin != fields.end();) {
    const auto end = std::find_if(begin, fields.end(), is_text);
    if (end - begin > last - first) first = begin, last = end;
    begin = std::find_if_not(end, fields.end(), is_text);
  }
  ParsedLine result;
  if (fields.empty()) return result;
  auto name = std::find_if(fields.begin(), first, is_text);
  if (last - first == std::ssize(fields)) {
    name = first++;
  } else if (name == first) {
    name = last;
  }
  result.name = name->text;
  // If spaces separate fields, a name may contain some.
  if (separator == ' ' && name < first)
    result.name = {name->text.begin(), std::prev(first)->text.end()};
  for (auto field = first; field != last; ++field) result.numbers.push_back(*field->number);
  return result;
}

/// Fields are separated by tabs, by commas or by spaces: the first of these that gives the numbers
/// of five points, because a name may contain the others ("Smith, John.jpg 30 40 …").
ParsedLine parse_line(std::string_view line) {
  ParsedLine best;
  for (const char separator : {'\t', ',', ' '}) {
    if (separator != ' ' && line.find(separator) == line.npos) continue;
    ParsedLine parsed = parse_line(line, separator);
    if (best.name.empty() || parsed.numbers.size() > best.numbers.size()) best = std::move(parsed);
    if (best.numbers.size() >= kPointNumbers) break;
  }
  return best;
}

/// The form in which names are compared: without a leading "./", and with '/' for Windows' '\'.
std::string key_of(std::string_view name) {
  while (name.starts_with("./")) name.remove_prefix(2);
  std::string key(name);
  std::ranges::replace(key, '\\', '/');
  return key;
}

std::uint32_t hash_of(const std::string& key) {
  return static_cast<std::uint32_t>(XXH3_64bits(key.data(), key.size()));
}

/// Five points from 68: the eyes as means of their corners and lids, the tip of the nose, the
/// corners of the mouth.
Landmarks five_of_68(const std::array<Point, 68>& points) {
  const auto mean = [&](std::size_t first) {
    Point sum;
    for (std::size_t i = first; i < first + 6; ++i) {
      sum.x += points[i].x / 6;
      sum.y += points[i].y / 6;
    }
    return sum;
  };
  return {mean(36), mean(42), points[30], points[48], points[54]};
}

std::size_t points_of(const LandmarkReading& reading) {
  return reading.of_68 ? 68 : 5;
}

/// How many numbers a line must have.
std::size_t numbers_needed(const LandmarkReading& reading) {
  return static_cast<std::size_t>(reading.before + reading.apart +
                                  reading.step * static_cast<int>(points_of(reading) - 1)) +
         1;
}

Landmarks points_in(std::span<const double> numbers, const LandmarkReading& reading) {
  std::array<Point, 68> points;
  for (std::size_t i = 0; i < points_of(reading); ++i) {
    const std::size_t at =
        static_cast<std::size_t>(reading.before) + i * static_cast<std::size_t>(reading.step);
    points[i] = {numbers[at], numbers[at + static_cast<std::size_t>(reading.apart)]};
    if (reading.y_first) std::swap(points[i].x, points[i].y);
  }
  if (reading.of_68) return five_of_68(points);
  Landmarks five;
  std::copy_n(points.begin(), five.size(), five.begin());
  if (reading.right_first) {
    std::swap(five[0], five[1]);
    std::swap(five[3], five[4]);
  }
  return five;
}

/// All readings of `count` numbers, the plainest first.
std::vector<LandmarkReading> readings_of(std::size_t count) {
  std::vector<LandmarkReading> readings;
  for (const bool turned : {false, true}) {
    for (const bool right_first : {false, true}) {
      for (const auto& [step, apart] : {std::pair(2, 1), std::pair(1, 5), std::pair(3, 1)}) {
        for (int before = 0; before <= kMostBefore; ++before)
          readings.push_back({before, step, apart, turned, right_first});
      }
    }
  }
  for (const auto& [step, apart] : {std::pair(2, 1), std::pair(1, 68)}) {
    for (int before = 0; before <= kMostBefore; ++before)
      readings.push_back({.before = before, .step = step, .apart = apart, .of_68 = true});
  }
  std::erase_if(readings, [&](const auto& reading) { return numbers_needed(reading) > count; });
  return readings;
}

/// How well a list's lines fit a reading.
struct ReadingFit {
  LandmarkReading reading;
  double misfit = 1;   ///< three lines in four fit better: most faces of a list may be profiles
  double upright = 0;  ///< mean cosine of the angle by which faces are turned

  /// How far this is from the usual order, which is left before right and x before y.
  int turns() const { return (reading.y_first ? 1 : 0) + (reading.right_first ? 1 : 0); }
};

ReadingFit fit_of(const std::vector<std::vector<double>>& lines, const LandmarkReading& reading) {
  std::vector<double> misfits;
  double upright = 0;
  for (const std::vector<double>& numbers : lines) {
    const Landmarks points = points_in(numbers, reading);
    const double left = misfit(points);
    if (!std::isfinite(left)) continue;  // a detector that found nothing writes zeros or -1
    misfits.push_back(left);
    const AffineMap map = similarity(points);
    upright += map[0][0] / std::hypot(map[0][0], map[1][0]);
  }
  if (misfits.empty()) return {reading};
  upright /= static_cast<double>(misfits.size());
  const auto quarter = misfits.begin() + std::ssize(misfits) / 4;
  std::ranges::nth_element(misfits, quarter);
  return {reading, *quarter, upright};
}

/// Mirrored faces fit two readings, which differ by a quarter turn. A reading in which faces then
/// lie on their side or stand on their head is not meant.
bool is_possible(const ReadingFit& fit) {
  return fit.turns() == 0 || fit.upright > 0.5;
}

bool in_fractions(const std::vector<std::vector<double>>& lines, const LandmarkReading& reading) {
  return std::ranges::all_of(lines, [&](const auto& numbers) {
    return std::ranges::all_of(points_in(numbers, reading), [](const Point& point) {
      return std::abs(point.x) <= 1.5 && std::abs(point.y) <= 1.5;
    });
  });
}

bool looks_like_json(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != text.npos && text[first] == '{';
}

/// Appends the numbers in `json`, `levels` deep. Without that limit, endless brackets would use up
/// the stack.
void append_numbers(const Json& json, int levels, std::string& line) {
  if (json.is_number()) line += format("\t%.17g", json.get<double>());
  if (!json.is_structured() || levels == 0) return;
  for (const Json& part : json) append_numbers(part, levels - 1, line);
}

/// The JSON's names and numbers as lines of text.
std::string text_of_json(std::string_view text, const std::string& file) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw DataError(file, "JSON", error.what());
  }
  std::string lines;
  for (const auto& [name, points] : json.items()) {
    if (name.find_first_of("\t\r\n") != name.npos)
      throw DataError(file, printable(name), "a name with a tab or a new line in it");
    lines += name;
    append_numbers(points, 4, lines);
    lines += '\n';
  }
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
    : name_(name), text_(list_text(bytes, name)) {
  if (looks_like_json(text_)) {
    json_as_text_ = std::make_unique<const std::string>(text_of_json(text_, name));
    text_ = *json_as_text_;
  }
  find_lines();
  choose_reading();
  sort_lines();
}

void LandmarkFile::find_lines() {
  int headings = 0;
  for (Lines lines(text_, name_); lines.next();) {
    if (lines.line().starts_with('#')) continue;
    Line line;
    line.number = static_cast<std::uint32_t>(lines.number());
    line.begin = static_cast<std::uint64_t>(lines.line().data() - text_.data());
    const ParsedLine parsed = parse_line(lines.line());
    const bool heading = parsed.numbers.empty() && lines_.empty() && !json_as_text_;
    if (heading && headings++ < kMostHeadings) {
      headings_ += "; without the heading " + shown(lines.line());
      continue;
    }
    if (parsed.name.empty() || parsed.numbers.size() < kPointNumbers)
      fail_at(line, std::string("want ") + kWanted);
    if (lines_.empty()) numbers_ = parsed.numbers.size();
    if (parsed.numbers.size() != numbers_) {
      fail_at(line, "with " + std::to_string(parsed.numbers.size()) + " numbers where line " +
                        std::to_string(lines_.front().number) + " has " + std::to_string(numbers_) +
                        ": want the same columns in all lines");
    }
    line.hash = hash_of(key_of(parsed.name));
    lines_.push_back(line);
  }
  if (lines_.empty())
    throw DataError(name_, "whole file", std::string("no landmarks, want ") + kWanted);
}

void LandmarkFile::choose_reading() {
  constexpr std::size_t kMostLines = 1000;
  std::vector<std::vector<double>> lines;
  const std::size_t count = std::min(lines_.size(), kMostLines);
  for (std::size_t i = 0; i < count; ++i)
    lines.push_back(parse_line(line_at(lines_[i * lines_.size() / count].begin)).numbers);
  const std::vector<LandmarkReading> readings = readings_of(numbers_);
  const ReadingFit plain = fit_of(lines, readings.front());
  ReadingFit best = plain;
  for (const LandmarkReading& reading : readings) {
    const ReadingFit fit = fit_of(lines, reading);
    constexpr double kRounding = 1e-9;
    const bool as_good = fit.misfit < best.misfit + kRounding && fit.turns() < best.turns();
    if (is_possible(fit) && (fit.misfit < best.misfit - kRounding || as_good)) best = fit;
  }
  if (best.misfit > kSurelyFaces || best.misfit > plain.misfit / 2) best = plain;
  if (best.misfit > kNoListOfFaces) {
    fail_at(lines_.front(),
            "whose numbers do not look like the points of a face, and neither do those of other "
            "lines; want " +
                std::string(kWanted));
  }
  reading_ = best.reading;
  reading_.of_the_sides = in_fractions(lines, reading_);
}

void LandmarkFile::sort_lines() {
  std::ranges::sort(lines_, {}, [](const Line& line) { return std::pair(line.hash, line.begin); });
  for (std::size_t i = 1; i < lines_.size(); ++i) {
    for (std::size_t j = i; j-- > 0 && lines_[j].hash == lines_[i].hash;) {
      const std::string_view name = parse_line(line_at(lines_[i].begin)).name;
      if (key_of(name) != key_of(parse_line(line_at(lines_[j].begin)).name)) continue;
      throw DataError(name_, printable(name),
                      "listed twice, in lines " + std::to_string(lines_[j].number) + " and " +
                          std::to_string(lines_[i].number));
    }
  }
}

void LandmarkFile::fail_at(const Line& line, const std::string& what) const {
  const std::string_view text = line_at(line.begin);
  const std::string place =
      json_as_text_ ? printable(parse_line(text).name) : "line " + std::to_string(line.number);
  throw DataError(name_, place, "found " + shown(text) + ", " + what);
}

std::string_view LandmarkFile::line_at(std::uint64_t begin) const {
  return first_line(text_.substr(begin));
}

const LandmarkFile::Line* LandmarkFile::line_named(const std::string& key) const {
  const std::uint32_t hash = hash_of(key);
  for (auto line = std::ranges::lower_bound(lines_, hash, {}, &Line::hash);
       line != lines_.end() && line->hash == hash; ++line) {
    if (key_of(parse_line(line_at(line->begin)).name) == key) return &*line;
  }
  return nullptr;
}

const LandmarkFile::Line* LandmarkFile::line_of(std::string_view name) const {
  if (const Line* line = line_named(key_of(name))) return line;
  return line_named(key_of(std::filesystem::path(name).replace_extension().string()));
}

std::optional<Landmarks> LandmarkFile::find(std::string_view name, const ImageSize& size) const {
  const Line* line = line_of(name);
  if (line == nullptr) return std::nullopt;
  Landmarks points = points_in(parse_line(line_at(line->begin)).numbers, reading_);
  if (reading_.of_the_sides) {
    for (Point& point : points) point = {point.x * size.width, point.y * size.height};
  }
  if (misfit(points) > kLooksLikeNoFace)
    fail_at(*line, "whose points do not look like a face when read as \"" + reading_text() + "\"");
  return points;
}

std::string_view LandmarkFile::example() const {
  return parse_line(line_at(lines_.front().begin)).name;
}

std::string LandmarkFile::reading_text() const {
  const auto others = [](std::size_t count) {
    return count == 0 ? "" : ", " + std::to_string(count) + (count == 1 ? " other" : " others");
  };
  const std::string a = reading_.y_first ? "Y" : "X", b = reading_.y_first ? "X" : "Y";
  const std::string last = std::to_string(points_of(reading_));
  std::string text = "NAME" + others(static_cast<std::size_t>(reading_.before)) + ", " + a + "1 ";
  if (reading_.step == 1) {
    text += "… " + a + last + " " + b + "1 … " + b + last;
  } else if (reading_.step == 2) {
    text += b + "1 … " + a + last + " " + b + last;
  } else {
    text += b + "1 C1 … " + a + last + " " + b + last + " C" + last;
  }
  const std::size_t read = numbers_needed(reading_) + (reading_.step == 3 ? 1 : 0);
  text += others(numbers_ - std::min(read, numbers_));
  if (reading_.right_first) text += "; the right eye first";
  if (reading_.of_the_sides) text += "; in fractions of width and height";
  return text + headings_;
}

}  // namespace pfc
