#pragma once

#include <cstdint>

#include "pfc/base/names.h"

namespace pfc {

/// How the numbers of a table are stored. Arithmetic is always in float32.
enum class NumberType {
  kFloat32,
  kBFloat16,  ///< the upper half of a float32: the same range, 8 bits of precision
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
