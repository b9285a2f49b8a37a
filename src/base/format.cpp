#include "pfc/base/format.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <iterator>
#include <utility>

namespace pfc {

std::string format(const char* pattern, ...) {
  std::va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(static_cast<std::size_t>(size), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::ptrdiff_t first = number < 0 ? 1 : 0;
  for (std::ptrdiff_t at = std::ssize(digits) - 3; at > first; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::string counted(std::int64_t number, std::string_view noun) {
  std::string text = grouped(number) + " ";
  if (number == 1) return text.append(noun);
  const auto ends_in = [&](std::string_view letters) {
    return letters.find(noun.back()) != letters.npos;
  };
  const bool vowel_before_last =
      noun.size() > 1 && std::string_view("aeiou").find(noun[noun.size() - 2]) != noun.npos;
  if (ends_in("y") && !vowel_before_last)
    return text.append(noun.substr(0, noun.size() - 1)).append("ies");
  const bool hisses = ends_in("sx") || noun.ends_with("ch") || noun.ends_with("sh");
  return text.append(noun).append(hisses ? "es" : "s");
}

namespace {

struct Unit {
  double bytes;
  int digits;  ///< behind the point
  const char* name;
};

Unit unit_of(std::int64_t bytes) {
  for (const Unit& unit : {Unit{1e9, 2, "GB"}, Unit{1e6, 1, "MB"}, Unit{1e3, 1, "kB"}})
    if (static_cast<double>(bytes) >= unit.bytes) return unit;
  return {1, 0, "bytes"};
}

std::string number_in(const Unit& unit, std::int64_t bytes) {
  return format("%.*f", unit.digits, static_cast<double>(bytes) / unit.bytes);
}

/// The first code point of `text` and how many bytes it takes; 0 bytes if it is not UTF-8.
std::pair<char32_t, std::size_t> code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return {0, 0};
  char32_t value = first & (0x7fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {0, 0};
    value = value << 6 | (byte(i) & 0x3fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  return value < kLeast[size] || surrogate || value > 0x10ffff ? std::pair<char32_t, std::size_t>{}
                                                               : std::pair{value, size};
}

/// Whether a terminal prints this character. Others would make it do something else.
bool is_printed(char32_t c) {
  const auto between = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  return !between(0, 0x1f) && !between(0x7f, 0x9f)                // control characters
         && !between(0x200e, 0x200f) && !between(0x2028, 0x202e)  // direction, line ends
         && !between(0x2066, 0x2069);                             // direction
}

}  // namespace

std::string size_text(std::int64_t bytes) {
  const Unit unit = unit_of(bytes);
  return number_in(unit, bytes) + " " + (bytes == 1 ? "byte" : unit.name);
}

std::string part_of_size(std::int64_t bytes, std::int64_t of) {
  const Unit unit = unit_of(of);
  return number_in(unit, bytes) + " of " + number_in(unit, of) + " " + unit.name;
}

std::string printable_line(std::string_view line) {
  std::string text;
  for (std::size_t i = 0; i < line.size();) {
    const auto [c, size] = code_point(line.substr(i));
    if (size > 0 && (c == '\t' || is_printed(c))) {
      text.append(line.substr(i, size));
    } else {
      text += '?';
    }
    i += std::max<std::size_t>(size, 1);
  }
  return text;
}

std::string printable(std::string_view name) {
  constexpr std::size_t kLongest = 80;
  std::size_t size = std::min(name.size(), kLongest);
  // Do not cut inside a character.
  while (size < name.size() && size > 0 && (static_cast<unsigned char>(name[size]) & 0xc0) == 0x80)
    --size;
  std::string text = printable_line(name.substr(0, size));
  std::ranges::replace(text, '\t', '?');
  return size < name.size() ? text + "..." : text;
}

}  // namespace pfc
