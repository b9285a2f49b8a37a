#pragma once

#include <bit>
#include <cstddef>  // for std::byte
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace pfc {

static_assert(std::endian::native == std::endian::little,
              "file formats are little-endian and read as they lie");

/// The value that begins at `offset`; the caller has checked that it lies within `bytes`.
template <class T>
T load(std::span<const std::byte> bytes, std::size_t offset) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <class T>
void append(std::vector<std::byte>& out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::size_t size = out.size();
  out.resize(size + sizeof(T));  // GCC 12 reports an insertion as out of bounds
  std::memcpy(out.data() + size, &value, sizeof(T));
}

}  // namespace pfc
