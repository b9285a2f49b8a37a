#pragma once

#include <algorithm>
#include <vector>

namespace pfc {

/// For an even number of values, the larger of the middle two. `values` must not be empty.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace pfc
