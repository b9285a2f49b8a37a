#include "pfc/eval/verification.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/verification_set.h"

namespace pfc {
namespace {

constexpr int kFolds = VerificationResult::kFolds;
constexpr double kValFar = 1e-3;

std::vector<double> grid(int size, double step) {
  std::vector<double> thresholds(static_cast<std::size_t>(size));
  for (int i = 0; i < size; ++i) thresholds[static_cast<std::size_t>(i)] = i * step;
  return thresholds;
}

/// Some pairs: their squared distances, and whether each shows one person.
struct Pairs {
  std::span<const double> distances;
  std::span<const std::uint8_t> same;

  std::size_t size() const { return same.size(); }
  Pairs fold(int index) const {
    const std::size_t f = static_cast<std::size_t>(index);
    const std::size_t base = size() / kFolds, larger = size() % kFolds;
    const std::size_t begin = f * base + std::min(f, larger);
    const std::size_t count = base + (f < larger ? 1 : 0);
    return {distances.subspan(begin, count), same.subspan(begin, count)};
  }
};

/// The number of pairs, and how many lie strictly below each threshold of a grid.
struct Counts {
  std::vector<std::int64_t> genuine_below, impostors_below;
  std::int64_t genuine = 0, impostors = 0;

  Counts(const Pairs& pairs, std::span<const double> thresholds)
      : genuine_below(thresholds.size()), impostors_below(thresholds.size()) {
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      ++(pairs.same[i] ? genuine : impostors);
      const auto first_above = std::ranges::upper_bound(thresholds, pairs.distances[i]);
      if (first_above == thresholds.end()) continue;
      const auto index = static_cast<std::size_t>(first_above - thresholds.begin());
      ++(pairs.same[i] ? genuine_below : impostors_below)[index];
    }
    for (auto* below : {&genuine_below, &impostors_below}) {
      std::partial_sum(below->begin(), below->end(), below->begin());
    }
  }

  /// The counts of these pairs without the pairs of `part`.
  Counts without(const Counts& part) const {
    Counts rest = *this;
    rest.genuine -= part.genuine;
    rest.impostors -= part.impostors;
    for (std::size_t t = 0; t < genuine_below.size(); ++t) {
      rest.genuine_below[t] -= part.genuine_below[t];
      rest.impostors_below[t] -= part.impostors_below[t];
    }
    return rest;
  }

  double accuracy(std::size_t threshold) const {
    return static_cast<double>(correct(threshold)) / static_cast<double>(genuine + impostors);
  }

  /// The first threshold with the best accuracy.
  std::size_t best() const {
    std::size_t best = 0;
    for (std::size_t t = 1; t < genuine_below.size(); ++t) {
      if (correct(t) > correct(best)) best = t;
    }
    return best;
  }

  double far(std::size_t threshold) const {
    if (impostors == 0) return 0;
    return static_cast<double>(impostors_below[threshold]) / static_cast<double>(impostors);
  }

 private:
  std::int64_t correct(std::size_t threshold) const {
    return genuine_below[threshold] + impostors - impostors_below[threshold];
  }
};

struct MeanAndDeviation {
  double mean = 0, deviation = 0;
};

MeanAndDeviation mean_and_deviation(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / n)};
}

void measure_accuracy(const Pairs& pairs, VerificationResult& result) {
  const std::vector<double> thresholds = grid(400, 0.01);
  const Counts all(pairs, thresholds);
  for (int f = 0; f < kFolds; ++f) {
    const Counts fold(pairs.fold(f), thresholds);
    result.fold_accuracies[static_cast<std::size_t>(f)] = fold.accuracy(all.without(fold).best());
  }
  const auto [mean, deviation] = mean_and_deviation(result.fold_accuracies);
  result.accuracy = mean;
  result.accuracy_deviation = deviation;
  result.best_threshold = thresholds[all.best()];
}

/// The threshold where the FAR reaches `far`: linear between the last threshold whose FAR is at
/// most that and the next one; 0 if it is never reached.
double threshold_at(double far, const Counts& counts, std::span<const double> thresholds) {
  if (counts.far(thresholds.size() - 1) < far) return 0;
  std::size_t next = 0;
  while (next < thresholds.size() && counts.far(next) <= far) ++next;
  const std::size_t last = next - 1;  // no distance is below the first threshold, which is 0
  if (next == thresholds.size()) return thresholds[last];
  const double slope =
      (thresholds[next] - thresholds[last]) / (counts.far(next) - counts.far(last));
  return thresholds[last] + slope * (far - counts.far(last));
}

void measure_val(const Pairs& pairs, VerificationResult& result) {
  const std::vector<double> thresholds = grid(4000, 0.001);
  const Counts all(pairs, thresholds);
  std::vector<double> vals, fars;
  for (int f = 0; f < kFolds; ++f) {
    const Pairs fold = pairs.fold(f);
    const Counts rest = all.without(Counts(fold, thresholds));
    const double threshold = threshold_at(kValFar, rest, thresholds);
    const Counts judged(fold, std::span(&threshold, 1));
    if (judged.genuine > 0) {
      vals.push_back(static_cast<double>(judged.genuine_below[0]) /
                     static_cast<double>(judged.genuine));
    }
    if (judged.impostors > 0) fars.push_back(judged.far(0));
  }
  const auto [mean, deviation] = mean_and_deviation(vals);
  result.val = mean;
  result.val_deviation = deviation;
  result.val_far = mean_and_deviation(fars).mean;
}

/// Embeddings of one image, original and mirrored.
struct Face {
  std::span<const float> original, mirrored;
};

Face face(const PairEmbeddings& embeddings, std::size_t image) {
  const auto d = static_cast<std::size_t>(embeddings.dim);
  return {std::span(embeddings.originals).subspan(image * d, d),
          std::span(embeddings.mirrored).subspan(image * d, d)};
}

void require_pairs(const std::string& set, std::int64_t genuine, std::int64_t pairs) {
  if (pairs < kFolds) {
    throw DataError(set, counted(pairs, "pair"),
                    "want at least " + std::to_string(kFolds) + ", one a fold");
  }
  if (genuine == 0 || genuine == pairs) {
    throw DataError(set, "pairs",
                    "all " + grouped(pairs) + " are of " +
                        (genuine == 0 ? "two people" : "one person") + ", want both kinds");
  }
}

void check(const PairEmbeddings& embeddings) {
  const std::size_t wanted = 2 * embeddings.same.size() * static_cast<std::size_t>(embeddings.dim);
  if (embeddings.dim <= 0 || embeddings.originals.size() != wanted ||
      embeddings.mirrored.size() != wanted) {
    throw Error("verify: " + std::to_string(embeddings.originals.size()) + " and " +
                counted(embeddings.mirrored.size(), "value") + " for " +
                counted(embeddings.same.size(), "pair") + " of size " +
                std::to_string(embeddings.dim) + ", want 2 · pairs · size of each");
  }
  const auto pairs = std::ssize(embeddings.same);
  require_pairs(embeddings.set, pairs - std::ranges::count(embeddings.same, 0), pairs);
  const auto finite = [](float value) { return std::isfinite(value); };
  for (std::size_t image = 0; image < 2 * embeddings.same.size(); ++image) {
    const auto [original, mirrored] = face(embeddings, image);
    const bool original_is_finite = std::ranges::all_of(original, finite);
    if (original_is_finite && std::ranges::all_of(mirrored, finite)) continue;
    throw DataError(embeddings.set, "image " + std::to_string(image),
                    std::string("the embedding of ") +
                        (original_is_finite ? "its mirror image" : "the image") +
                        " holds a value that is not finite");
  }
}

double norm(std::span<const float> embedding) {
  double squares = 0;
  for (const double value : embedding) squares += value * value;
  return std::sqrt(squares);
}

double mean_norm(const PairEmbeddings& embeddings) {
  const std::size_t images = 2 * embeddings.same.size();
  double sum = 0;
  for (std::size_t image = 0; image < images; ++image) {
    const auto [original, mirrored] = face(embeddings, image);
    sum += norm(original) + norm(mirrored);
  }
  return sum / static_cast<double>(2 * images);
}

/// Original plus mirror, L2-normalised.
struct Template {
  std::vector<double> unit;
  double length = 0;  ///< of the sum
};

Template template_of(const Face& face) {
  Template of{{face.original.begin(), face.original.end()}};
  std::vector<double>& sum = of.unit;
  double squares = 0;
  for (std::size_t k = 0; k < sum.size(); ++k) {
    sum[k] += face.mirrored[k];
    squares += sum[k] * sum[k];
  }
  of.length = std::sqrt(squares);
  if (squares > 0) {
    for (double& value : sum) value /= of.length;
  }
  return of;
}

struct Compared {
  std::vector<double> distances;  ///< [P] squared, Euclidean
  std::vector<double> lengths;    ///< [2P] of the mean of original and mirror
};

Compared compare(const PairEmbeddings& embeddings) {
  Compared compared;
  for (std::size_t pair = 0; pair < embeddings.same.size(); ++pair) {
    const Template a = template_of(face(embeddings, 2 * pair));
    const Template b = template_of(face(embeddings, 2 * pair + 1));
    double sum = 0;
    for (std::size_t k = 0; k < a.unit.size(); ++k)
      sum += (a.unit[k] - b.unit[k]) * (a.unit[k] - b.unit[k]);
    compared.distances.push_back(sum);
    compared.lengths.insert(compared.lengths.end(), {a.length / 2, b.length / 2});
  }
  return compared;
}

std::vector<double> scores_of(const Pairs& pairs) {
  std::vector<double> scores;
  for (const double distance : pairs.distances) scores.push_back(-distance);
  return scores;
}

}  // namespace

void require_pairs(const VerificationSet& set) {
  std::int64_t genuine = 0;
  for (std::int64_t pair = 0; pair < set.pairs(); ++pair) genuine += set.same(pair);
  require_pairs(set.name(), genuine, set.pairs());
}

VerificationResult verify(const PairEmbeddings& embeddings, std::optional<double> reject) {
  check(embeddings);
  Compared compared = compare(embeddings);
  const Pairs pairs{compared.distances, embeddings.same};

  std::vector<double> scores = scores_of(pairs);
  const Roc roc(scores, pairs.same);
  VerificationResult result{.set = embeddings.set,
                            .scores = std::move(scores),
                            .same = embeddings.same,
                            .lengths = std::move(compared.lengths),
                            .roc = roc};
  measure_accuracy(pairs, result);
  measure_val(pairs, result);
  result.xnorm = mean_norm(embeddings);
  result.operating_points = {result.roc.at(1e-1), result.roc.at(1e-2), result.roc.at(1e-3),
                             result.roc.at(1e-4)};
  result.area = result.roc.area();
  result.equal_error_rate = result.roc.equal_error_rate();
  if (reject) result.reject = reject_curve(result.scores, result.same, result.lengths, *reject);
  return result;
}

}  // namespace pfc
