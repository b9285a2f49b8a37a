#pragma once

#include <cstdint>

namespace pfc {

/// Two images, by their rows in the features, and their score.
struct NamedPair {
  double score = 0;
  std::int64_t first = 0, second = 0;
};

}  // namespace pfc
