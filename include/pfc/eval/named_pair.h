#pragma once

#include <cstdint>

namespace pfc {

/// Two images and their score, by their rows in the features.
struct NamedPair {
  double score = 0;
  std::int64_t first = 0, second = 0;
};

}  // namespace pfc
