#include "pfc/eval/accept_rate.h"

#include <algorithm>
#include <cmath>

namespace pfc {

std::int64_t allowed_accepts(double far, std::int64_t impostors) {
  const auto n = static_cast<double>(impostors);
  auto allowed = static_cast<std::int64_t>(std::floor(far * n));
  // 0.1 · 10 is a whole number although 0.1 is not exact. A count is allowed if its rate is.
  while (allowed < impostors && static_cast<double>(allowed + 1) / n <= far) ++allowed;
  while (allowed > 0 && static_cast<double>(allowed) / n > far) --allowed;
  return std::min(allowed, impostors);
}

std::int64_t count_above(std::span<const double> ascending, double threshold) {
  return ascending.end() - std::ranges::upper_bound(ascending, threshold);
}

}  // namespace pfc
