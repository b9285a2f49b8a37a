#pragma once

#include <algorithm>
#include <tuple>
#include <vector>

#include "pfc/eval/named_pair.h"
#include "pfc/eval/roc.h"

namespace pfc {

/// Keeps the pairs with the lowest scores, at most kHardestPairs. The result does not depend on the
/// order in which pairs come.
inline void keep_lowest(std::vector<NamedPair>& lowest, const NamedPair& pair) {
  const auto lower = [](const NamedPair& a, const NamedPair& b) {
    return std::tie(a.score, a.first, a.second) < std::tie(b.score, b.first, b.second);
  };
  if (lowest.size() == kHardestPairs) {
    if (!lower(pair, lowest.back())) return;
    lowest.pop_back();
  }
  lowest.insert(std::ranges::upper_bound(lowest, pair, lower), pair);
}

}  // namespace pfc
