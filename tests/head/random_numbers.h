#pragma once

#include <cstdint>
#include <vector>

#include "pfc/base/random.h"

namespace pfc {

/// Uniform over [low, high).
inline std::vector<float> random_numbers(std::int64_t count, double low, double high,
                                         std::uint64_t seed) {
  const CounterRandom random(seed, RandomStream::kCentreInit);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = static_cast<double>(random.bits(0, static_cast<std::uint64_t>(i)));
    values.push_back(static_cast<float>(low + (high - low) * bits * 0x1p-64));
  }
  return values;
}

}  // namespace pfc
