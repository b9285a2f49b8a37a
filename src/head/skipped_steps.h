#pragma once

#include <cstdint>
#include <vector>

#include "head/kernels/row_rules.h"

namespace pfc {

/// What an optimizer over a whole table does to the rows that a step does not sample, whose
/// gradient is 0. For rules that can catch up this is one linear map of (w, v), the same for all
/// rows, where v is the first state. Several steps are the product of their maps. The products are
/// kept here in float64, from every step in which a row may have been touched last.
///
/// Each product is kept in two parts: from a step to the end of its block of steps, and from there
/// to the end of the last whole block. A new step multiplies only the products of its own block.
/// When a block ends, one product for each earlier block is multiplied. So n steps, also those in a
/// file, do not cost n² products. Dividing two products that begin at step 0 would need no loop at
/// all; but their determinant is μⁿ, and after some hundred steps the quotient of two such numbers
/// is noise.
class SkippedSteps {
 public:
  explicit SkippedSteps(const CenterOptimizer& optimizer) : optimizer_(optimizer) { clear(); }

  /// Adds a step with this learning rate.
  void push(double lr);
  /// Forgets all steps, because every row was caught up.
  void clear() {
    to_block_end_.assign(1, kIdentity);
    to_last_block_.clear();
    learning_rates_.clear();
  }

  /// The number of steps since the last `clear`.
  std::int64_t size() const { return static_cast<std::int64_t>(learning_rates_.size()); }
  /// The learning rates of those steps, in order; pushing them again gives the same products.
  const std::vector<double>& learning_rates() const { return learning_rates_; }
  /// The map of the steps that a row has missed if it has been through the first `steps` of them.
  kernels::CatchUp since(std::int64_t steps) const;

 private:
  using Map = kernels::LinearStep;
  static constexpr Map kIdentity = {1, 0, 0, 1};
  static constexpr std::size_t kBlock = 128;

  static Map then(const Map& first, const Map& second);
  /// The first step of the current block.
  std::size_t block_begin() const { return learning_rates_.size() / kBlock * kBlock; }

  CenterOptimizer optimizer_;
  std::vector<Map> to_block_end_;  ///< [n + 1] from each step to the end of its block
  std::vector<Map>
      to_last_block_;  ///< [whole blocks] from the end of each block to the end of the last one
  std::vector<double> learning_rates_;
};

}  // namespace pfc
