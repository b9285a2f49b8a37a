#pragma once

#include <cstdint>

#include "pfc/base/names.h"

namespace pfc {

/// How the numbers of a table are stored; arithmetic is in float32 whatever it is.
enum class NumberType {
  kFloat32,
  kBFloat16,  ///< float32's upper half: as wide a range, 8 bits of precision
};

template <>
struct Names<NumberType> {
  static constexpr auto kAll = named_values<NumberType>(
      {{NumberType::kFloat32, "float32"}, {NumberType::kBFloat16, "bfloat16"}});
};

constexpr std::int64_t bytes_of(NumberType type) {
  return type == NumberType::kFloat32 ? 4 : 2;
}

}  // namespace pfc
