#include "pfc/eval/roc.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "pfc/base/error.h"

namespace pfc {

Roc::Roc(std::span<const double> scores, std::span<const std::uint8_t> same) {
  assert(scores.size() == same.size());
  if (std::ranges::any_of(scores, [](double score) { return std::isnan(score); })) {
    throw Error("a ROC curve needs scores that are numbers, found NaN");
  }
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, std::greater{}, [&](std::size_t i) { return scores[i]; });

  RocPoint point{.threshold = std::numeric_limits<double>::infinity()};
  points_.push_back(point);
  for (std::size_t i = 0; i < order.size(); ++i) {
    ++(same[order[i]] ? point.true_accepts : point.false_accepts);
    const bool last_of_its_score = i + 1 == order.size() || scores[order[i + 1]] < scores[order[i]];
    if (!last_of_its_score) continue;
    point.threshold = scores[order[i]];
    points_.push_back(point);
  }
  if (genuine() == 0 || impostors() == 0) {
    throw Error("a ROC curve needs pairs of both kinds, found " + std::to_string(genuine()) +
                " of the same person and " + std::to_string(impostors()) + " of different ones");
  }
}

double Roc::tar(const RocPoint& point) const {
  return static_cast<double>(point.true_accepts) / static_cast<double>(genuine());
}

double Roc::far(const RocPoint& point) const {
  return static_cast<double>(point.false_accepts) / static_cast<double>(impostors());
}

OperatingPoint Roc::at(double wanted_far) const {
  assert(wanted_far >= 0);
  const auto beyond = std::ranges::partition_point(
      points_, [&](const RocPoint& point) { return far(point) <= wanted_far; });
  const RocPoint& point = *std::prev(beyond);  // the first point has a FAR of 0
  return {.wanted_far = wanted_far,
          .far = far(point),
          .tar = tar(point),
          .threshold = point.threshold,
          .resolved = 1.0 / static_cast<double>(impostors()) <= wanted_far};
}

RocPoint Roc::nearest(double wanted) const {
  const auto beyond = std::ranges::partition_point(
      points_, [&](const RocPoint& point) { return far(point) <= wanted; });
  const RocPoint& below = *std::prev(beyond);  // the first point has a FAR of 0
  if (beyond == points_.end()) return below;
  const std::int64_t next = beyond->false_accepts;
  const auto last = std::ranges::partition_point(
      beyond, points_.end(), [&](const RocPoint& point) { return point.false_accepts == next; });
  const RocPoint& above = *std::prev(last);
  return far(above) - wanted <= wanted - far(below) ? above : below;
}

Roc Roc::corners() const {
  std::vector<RocPoint> kept;
  for (std::size_t i = 0; i < points_.size(); ++i) {
    const auto bends = [&](std::int64_t RocPoint::*count) {
      return points_[i + 1].*count - points_[i].*count != points_[i].*count - points_[i - 1].*count;
    };
    const bool is_an_end = i < 2 || i + 1 == points_.size();  // the first score is the second point
    if (is_an_end || bends(&RocPoint::true_accepts) || bends(&RocPoint::false_accepts))
      kept.push_back(points_[i]);
  }
  return Roc(std::move(kept));
}

double Roc::area() const {
  // In whole numbers, because each addition of millions of small terms would round.
  __extension__ using Whole = __int128;
  Whole twice = 0;
  for (std::size_t i = 1; i < points_.size(); ++i) {
    twice += Whole{points_[i].false_accepts - points_[i - 1].false_accepts} *
             (points_[i].true_accepts + points_[i - 1].true_accepts);
  }
  return static_cast<double>(twice) / 2 / static_cast<double>(Whole{genuine()} * impostors());
}

std::vector<std::int64_t> hardest_pairs(std::span<const double> scores,
                                        std::span<const std::uint8_t> same, bool genuine) {
  std::vector<std::int64_t> places;
  for (std::size_t i = 0; i < scores.size(); ++i)
    if ((same[i] != 0) == genuine) places.push_back(static_cast<std::int64_t>(i));
  const auto harder = [&](std::int64_t a, std::int64_t b) {
    const double x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    return x != y ? (genuine ? x < y : x > y) : a < b;
  };
  const auto end =
      places.begin() + static_cast<std::ptrdiff_t>(std::min(kHardestPairs, places.size()));
  std::partial_sort(places.begin(), end, places.end(), harder);
  places.erase(end, places.end());
  return places;
}

double Roc::equal_error_rate() const {
  const auto excess = [&](const RocPoint& point) { return far(point) - (1 - tar(point)); };
  const auto after = std::ranges::partition_point(
      points_, [&](const RocPoint& point) { return excess(point) < 0; });
  const RocPoint& before =
      *std::prev(after);  // the first point's excess is −1, the last point's is 1
  const double share = excess(before) / (excess(before) - excess(*after));
  return far(before) + share * (far(*after) - far(before));
}

}  // namespace pfc
