#include "base/pickle_text.h"

#include <algorithm>
#include <charconv>

namespace pfc::pickle {
namespace {

using Bytes = std::span<const std::byte>;

/// The number that `digits` hexadecimal digits at `at` spell, if there are that many and it is
/// below 256.
std::optional<std::byte> hex_byte(Bytes text, std::size_t at, std::size_t digits) {
  if (text.size() - at < digits) return std::nullopt;
  const auto* first = reinterpret_cast<const char*>(text.data() + at);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(first, first + digits, value, 16);
  if (error != std::errc() || end != first + digits || value > 255) return std::nullopt;
  return static_cast<std::byte>(value);
}

/// A character that stands for itself after a backslash, or the control character that it means.
std::optional<std::byte> simple_escape(std::byte letter) {
  switch (static_cast<char>(letter)) {
    case '\\':
    case '\'':
    case '"':
      return letter;
    case 'n':
      return std::byte{'\n'};
    case 'r':
      return std::byte{'\r'};
    case 't':
      return std::byte{'\t'};
    default:
      return std::nullopt;
  }
}

}  // namespace

bool is_ascii(Bytes text) {
  return std::all_of(text.begin(), text.end(), [](std::byte b) { return b < std::byte{0x80}; });
}

std::optional<std::vector<std::byte>> latin1_from_utf8(Bytes text) {
  std::vector<std::byte> latin1;
  latin1.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::byte lead = text[i];
    if (lead < std::byte{0x80}) {
      latin1.push_back(lead);
      continue;
    }
    // 0x80 to 0xff take two bytes; the first is 0xc2 or 0xc3.
    const bool two = (lead == std::byte{0xc2} || lead == std::byte{0xc3}) && i + 1 < text.size();
    if (!two || (text[i + 1] & std::byte{0xc0}) != std::byte{0x80}) return std::nullopt;
    latin1.push_back((lead << 6) | (text[++i] & std::byte{0x3f}));
  }
  return latin1;
}

std::optional<std::vector<std::byte>> latin1_from_raw_escapes(Bytes text) {
  std::vector<std::byte> latin1;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != std::byte{'\\'}) {
      latin1.push_back(text[i++]);
      continue;
    }
    if (i + 1 == text.size() || text[i + 1] != std::byte{'u'}) return std::nullopt;
    const auto character = hex_byte(text, i + 2, 4);
    if (!character) return std::nullopt;
    latin1.push_back(*character);
    i += 6;
  }
  return latin1;
}

std::optional<std::vector<std::byte>> bytes_from_repr(Bytes text) {
  if (text.size() < 2 || text.front() != text.back() ||
      (text.front() != std::byte{'\''} && text.front() != std::byte{'"'})) {
    return std::nullopt;
  }
  text = text.subspan(1, text.size() - 2);
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != std::byte{'\\'}) {
      bytes.push_back(text[i++]);
      continue;
    }
    if (i + 1 == text.size()) return std::nullopt;
    const bool hex = text[i + 1] == std::byte{'x'};
    const auto byte = hex ? hex_byte(text, i + 2, 2) : simple_escape(text[i + 1]);
    if (!byte) return std::nullopt;
    bytes.push_back(*byte);
    i += hex ? 4 : 2;
  }
  return bytes;
}

}  // namespace pfc::pickle
