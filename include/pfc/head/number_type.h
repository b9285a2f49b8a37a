#pragma once

#include <cstdint>

namespace pfc {

/// How the numbers of a table are stored; arithmetic is in float32 whatever it is.
enum class NumberType {
  kFloat32,
  kBFloat16,  ///< float32's upper half: as wide a range, 8 bits of precision
};

constexpr std::int64_t bytes_of(NumberType type) {
  return type == NumberType::kFloat32 ? 4 : 2;
}

}  // namespace pfc
