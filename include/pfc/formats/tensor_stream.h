#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// Takes bytes, piece by piece, in their order.
using ByteSink = std::function<void(std::span<const std::byte>)>;

/// A tensor of a file. Its bytes are read only when they are asked for.
struct TensorStream {
  std::string name;
  std::string dtype;  ///< as safetensors spells it: F32, F64, BF16, I64, …
  std::vector<std::int64_t> shape;
  std::function<void(const ByteSink&)> read;  ///< row-major, little-endian
};

/// The size of one element in bytes; 0 if the type is unknown.
std::uint64_t element_size(std::string_view dtype);
/// The size of a tensor in bytes. Extents must not be negative. Nothing if the size exceeds 2^64 or
/// the type is unknown.
std::optional<std::uint64_t> byte_size(std::string_view dtype, std::span<const std::int64_t> shape);
/// {64, 3} -> "[64, 3]", for errors.
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace pfc
