#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace pfc {

/// What is accepted if every pair with a score of at least `threshold` is accepted.
struct RocPoint {
  double threshold = 0;
  std::int64_t true_accepts = 0;
  std::int64_t false_accepts = 0;
};

/// The true accept rate at a wanted false accept rate.
struct OperatingPoint {
  double wanted_far = 0;
  double far = 0;  ///< the rate reached, at most `wanted_far`
  double tar = 0;
  double threshold = 0;   ///< pairs of at least this score are accepted; +∞: none is
  bool resolved = false;  ///< one false accept is at most `wanted_far`; otherwise none is allowed
};

/// The exact receiver operating characteristic of scored pairs. Pairs of equal score are accepted
/// together, since no threshold can separate them.
class Roc {
 public:
  /// scores [P], larger for more similar pairs; same [P], not 0 for pairs of one person. Throws
  /// Error for a score that is NaN, and if one of the two kinds of pairs is missing.
  Roc(std::span<const double> scores, std::span<const std::uint8_t> same);

  std::int64_t genuine() const { return points_.back().true_accepts; }
  std::int64_t impostors() const { return points_.back().false_accepts; }
  /// From nothing accepted to everything accepted, one point for each distinct score.
  std::span<const RocPoint> points() const { return points_; }
  double tar(const RocPoint& point) const;
  double far(const RocPoint& point) const;

  /// The largest TAR whose FAR is at most `wanted_far` ≥ 0; nothing is interpolated.
  OperatingPoint at(double wanted_far) const;
  /// The point whose FAR is nearest to `far`. If several are equally near, the one with the largest
  /// TAR.
  RocPoint nearest(double far) const;
  /// The same curve, reduced to its first point, its last point and the points where it bends. This
  /// is scikit-learn's roc_curve by default, from which published figures are read.
  Roc corners() const;
  /// Area under the curve, exact except for one rounding: the probability that a genuine pair
  /// scores above an impostor pair, where ties count half.
  double area() const;
  /// The rate at which FAR = 1 − TAR, linear between two points of the curve.
  double equal_error_rate() const;

 private:
  explicit Roc(std::vector<RocPoint> points) : points_(std::move(points)) {}

  std::vector<RocPoint> points_;
};

/// How many pairs of each kind a report shows.
inline constexpr std::size_t kHardestPairs = 12;

/// The places of the genuine pairs with the lowest scores, lowest first, or of the impostor pairs
/// with the highest scores, highest first. At most kHardestPairs.
std::vector<std::int64_t> hardest_pairs(std::span<const double> scores,
                                        std::span<const std::uint8_t> same, bool genuine);

}  // namespace pfc
