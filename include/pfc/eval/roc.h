#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace pfc {

/// What is accepted where every pair of a score of at least `threshold` is.
struct RocPoint {
  double threshold = 0;
  std::int64_t true_accepts = 0;
  std::int64_t false_accepts = 0;
};

/// The true accept rate that a false accept rate allows.
struct OperatingPoint {
  double wanted_far = 0;
  double far = 0;  ///< reached, at most `wanted_far`
  double tar = 0;
  double threshold = 0;   ///< pairs of at least this score are accepted; +∞: none is
  bool resolved = false;  ///< one false accept is no more than `wanted_far`; else none is allowed
};

/// The exact receiver operating characteristic of scored pairs. Pairs of equal score are accepted
/// together, since no threshold can part them.
class Roc {
 public:
  /// scores [P], larger where a pair is more alike; same [P], not 0 for pairs of one person.
  /// Throws Error for a score that is not a number and where one of the two kinds is missing.
  Roc(std::span<const double> scores, std::span<const std::uint8_t> same);

  std::int64_t genuine() const { return points_.back().true_accepts; }
  std::int64_t impostors() const { return points_.back().false_accepts; }
  /// From nothing accepted to everything accepted, a point for each distinct score.
  std::span<const RocPoint> points() const { return points_; }
  double tar(const RocPoint& point) const;
  double far(const RocPoint& point) const;

  /// The largest TAR whose FAR is at most `wanted_far` ≥ 0; nothing is interpolated.
  OperatingPoint at(double wanted_far) const;
  /// The point whose FAR is nearest to `far`; where several are, the one with the largest TAR.
  RocPoint nearest(double far) const;
  /// The same curve by the points at which it bends, besides its first score and its last one: what
  /// scikit-learn's roc_curve gives by default, so what figures of the field are read from.
  Roc corners() const;
  /// Area under the curve, exact but for one rounding: the probability that a genuine pair scores
  /// above an impostor pair, ties counting half.
  double area() const;
  /// The rate at which FAR = 1 − TAR, linear between two points of the curve.
  double equal_error_rate() const;

 private:
  explicit Roc(std::vector<RocPoint> points) : points_(std::move(points)) {}

  std::vector<RocPoint> points_;
};

/// How many pairs of a kind a report shows.
inline constexpr std::size_t kHardestPairs = 12;

/// The places of the genuine pairs with the lowest scores, the lowest first, or of the impostor
/// pairs with the highest, the highest first: kHardestPairs, or all where there are fewer.
std::vector<std::int64_t> hardest_pairs(std::span<const double> scores,
                                        std::span<const std::uint8_t> same, bool genuine);

}  // namespace pfc
