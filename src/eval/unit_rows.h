#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace pfc {

/// The dot product in float64, which is the cosine of unit vectors. The order of the additions is
/// fixed, so the result is the same on every machine.
template <class T>
double exact_score(std::span<const T> a, std::span<const T> b) {
  constexpr std::size_t kSums = 8;  // independent sums, for the processor's vectors
  std::array<double, kSums> sums{};
  std::size_t i = 0;
  for (; i + kSums <= a.size(); i += kSums) {
    for (std::size_t k = 0; k < kSums; ++k)
      sums[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  }
  for (; i < a.size(); ++i) sums[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// Divides a vector by its L2 norm, summed in float64; zeros stay zeros. False if a value or the
/// norm is not finite.
bool normalise(std::span<float> vector);

}  // namespace pfc
