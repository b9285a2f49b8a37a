#include "eval/unit_rows.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace pfc {

double exact_score(std::span<const float> a, std::span<const float> b) {
  constexpr std::size_t kSums = 8;  // independent of each other, for the processor's vectors
  std::array<double, kSums> sums{};
  std::size_t i = 0;
  for (; i + kSums <= a.size(); i += kSums) {
    for (std::size_t k = 0; k < kSums; ++k)
      sums[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  }
  for (; i < a.size(); ++i) sums[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

bool normalise(std::span<float> vector) {
  const double norm = std::sqrt(exact_score(vector, vector));
  if (!std::isfinite(norm)) return false;
  if (norm == 0) return true;
  for (float& value : vector) value = static_cast<float>(value / norm);
  return true;
}

}  // namespace pfc
