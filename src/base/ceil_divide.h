#pragma once

namespace pfc {

/// ⌈a / b⌉ of whole numbers that are not negative.
template <class T>
constexpr T ceil_divide(T a, T b) {
  return (a + b - 1) / b;
}

}  // namespace pfc
