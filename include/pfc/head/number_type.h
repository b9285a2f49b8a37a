#pragma once

#include <cstdint>
#include <string_view>

namespace pfc {

/// How the numbers of a table are stored; arithmetic is in float32 whatever it is.
enum class NumberType {
  kFloat32,
  kBFloat16,  ///< float32's upper half: as wide a range, 8 bits of precision
};

constexpr std::string_view name_of(NumberType type) {
  return type == NumberType::kFloat32 ? "float32" : "bfloat16";
}
/// The type of that name, which was checked to be one of the two.
constexpr NumberType number_type(std::string_view name) {
  return name == name_of(NumberType::kBFloat16) ? NumberType::kBFloat16 : NumberType::kFloat32;
}

constexpr std::int64_t bytes_of(NumberType type) {
  return type == NumberType::kFloat32 ? 4 : 2;
}

}  // namespace pfc
