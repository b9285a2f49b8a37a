#include "eval/unit_rows.h"

#include <cmath>

namespace pfc {

bool normalise(std::span<float> vector) {
  const double norm = std::sqrt(exact_score<float>(vector, vector));
  if (!std::isfinite(norm)) return false;
  if (norm == 0) return true;
  for (float& value : vector) value = static_cast<float>(value / norm);
  return true;
}

}  // namespace pfc
