#include "pfc/eval/reject.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <numeric>

namespace pfc {
namespace {

/// Adds a pair to the counts, or takes it out.
void count(RejectPoint& point, bool same, bool accepted, std::int64_t pairs) {
  (same ? point.genuine : point.impostors) += pairs;
  if (same && !accepted) point.false_rejects += pairs;
  if (!same && accepted) point.false_accepts += pairs;
}

}  // namespace

const RejectPoint& RejectCurve::after(double share) const {
  const auto beyond = std::ranges::upper_bound(points, share + 1e-9, {}, &RejectPoint::images);
  return *std::prev(beyond);  // the first point rejects none
}

std::vector<RejectPoint> RejectCurve::rows() const {
  constexpr int kRows = 10;
  std::vector<RejectPoint> rows;
  for (int i = 0; i <= kRows; ++i) {
    const RejectPoint& point = after(end * i / kRows);
    if (rows.empty() || rows.back().images < point.images) rows.push_back(point);
  }
  return rows;
}

RejectCurve reject_curve(std::span<const double> scores, std::span<const std::uint8_t> same,
                         std::span<const double> lengths, double most) {
  assert(scores.size() == same.size() && lengths.size() == 2 * scores.size());
  assert(most >= 0 && most < 1);
  RejectCurve curve{.at = Roc(scores, same).at(RejectCurve::kFar), .end = most, .points = {}};
  std::vector<std::size_t> order(lengths.size());  // of images
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t image) { return lengths[image]; });

  RejectPoint point{.length = lengths[order.front()]};
  const auto count_pair = [&](std::size_t pair, std::int64_t pairs) {
    count(point, same[pair] != 0, scores[pair] >= curve.at.threshold, pairs);
  };
  for (std::size_t pair = 0; pair < scores.size(); ++pair) count_pair(pair, 1);
  curve.points.push_back(point);
  std::vector<bool> is_left(scores.size(), true);
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    const std::size_t pair = order[i] / 2;
    if (is_left[pair]) count_pair(pair, -1);
    is_left[pair] = false;
    point.images = static_cast<double>(i + 1) / static_cast<double>(order.size());
    point.length = lengths[order[i + 1]];
    if (point.genuine == 0) curve.end = std::min(most, point.images);
    if (point.genuine == 0 || point.images > most + 1e-9) break;
    if (lengths[order[i]] < point.length) curve.points.push_back(point);
  }
  return curve;
}

}  // namespace pfc
