#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace pfc {

/// The number that IEEE's binary16 has as `bits`.
inline double from_float16(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double size = exponent == 31  ? (fraction == 0 ? std::numeric_limits<double>::infinity()
                                                       : std::numeric_limits<double>::quiet_NaN())
                      : exponent == 0 ? std::ldexp(fraction, -24)
                                      : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 == 0 ? size : -size;
}

/// The nearest number of binary16 as bits; a tie goes to the even one, and what is too large to
/// infinity.
inline std::uint16_t to_float16(double value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  const double size = std::abs(value);
  if (std::isnan(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  constexpr int kLeast = -14;  // the exponent of the least number that has all its digits
  const int exponent = size < std::ldexp(1, kLeast) ? kLeast : std::ilogb(size);
  // 1024 to 2048, or less at the least exponent. A carry goes into the exponent's bits, as it
  // should.
  const auto digits = static_cast<int>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  return static_cast<std::uint16_t>(sign | ((exponent - kLeast) * 1024 + digits));
}

/// The number that a bfloat16 has as `bits`: the upper half of a float32.
inline double from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace pfc
