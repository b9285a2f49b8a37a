#pragma once

#include <cstddef>  // for std::byte
#include <optional>
#include <span>
#include <vector>

namespace pfc::pickle {

// The three ways in which pickles spell out bytes and characters. Each function returns nothing if
// the text is malformed or has a character above 255.

/// Whether all bytes are ASCII, so that they are the same in Latin-1 and UTF-8.
bool is_ascii(std::span<const std::byte> text);
/// UTF-8, the text of protocols 1 and up.
std::optional<std::vector<std::byte>> latin1_from_utf8(std::span<const std::byte> text);
/// The text of protocol 0, where \u and four hexadecimal digits stand for a character.
std::optional<std::vector<std::byte>> latin1_from_raw_escapes(std::span<const std::byte> text);
/// A quoted string as Python 2 prints it: the bytes of protocol 0.
std::optional<std::vector<std::byte>> bytes_from_repr(std::span<const std::byte> text);

}  // namespace pfc::pickle
