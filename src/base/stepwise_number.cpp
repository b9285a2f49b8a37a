#include "pfc/base/stepwise_number.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "pfc/base/error.h"

namespace pfc {

StepwiseNumber::StepwiseNumber(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {
  if (!are_in_order(pieces_))
    throw Error("the steps at which a number changes do not begin with 0, or do not ascend");
}

bool StepwiseNumber::are_in_order(const std::vector<Piece>& pieces) {
  return !pieces.empty() && pieces.front().from == 0 &&
         std::ranges::adjacent_find(pieces, std::greater_equal{}, &Piece::from) == pieces.end();
}

double StepwiseNumber::at(std::int64_t step) const {
  const auto next = std::ranges::upper_bound(pieces_, step, {}, &Piece::from);
  return next == pieces_.begin() ? next->value : std::prev(next)->value;
}

}  // namespace pfc
