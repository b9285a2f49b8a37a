#pragma once

#include <cstdint>
#include <vector>

namespace pfc {

/// A number that depends on the step: a constant, or one value from each of a few steps to the
/// next.
class StepwiseNumber {
 public:
  struct Piece {
    std::int64_t from = 0;  ///< the first step with this value
    double value = 0;
    bool operator==(const Piece&) const = default;
  };

  StepwiseNumber(double constant) : pieces_{{.from = 0, .value = constant}} {}
  /// Throws Error if the first piece does not begin with step 0, or if their steps do not ascend.
  explicit StepwiseNumber(std::vector<Piece> pieces);
  static bool are_in_order(const std::vector<Piece>& pieces);

  double at(std::int64_t step) const;
  const std::vector<Piece>& pieces() const { return pieces_; }
  bool is_constant() const { return pieces_.size() == 1; }
  bool operator==(const StepwiseNumber&) const = default;

 private:
  std::vector<Piece> pieces_;  ///< not empty; the first begins with step 0
};

}  // namespace pfc
