#include "pfc/head/sampler.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

/// ⌈rC⌉, with r read as the decimal that was typed: 0.1 · 30 is 3, not 4.
std::int64_t classes_drawn(double rate, std::int64_t classes) {
  const double product = rate * static_cast<double>(classes);
  const double nearest = std::round(product);
  const bool whole = std::abs(product - nearest) < 1e-9 * static_cast<double>(classes);
  return std::min(classes, static_cast<std::int64_t>(whole ? nearest : std::ceil(product)));
}

/// [0, C) cut into S₀ strata of ⌊C/S₀⌋ or ⌈C/S₀⌉ classes.
struct Strata {
  std::int64_t classes, count;

  std::int64_t begin(std::int64_t k) const { return k * classes / count; }
  /// The last k with begin(k) <= u.
  std::int64_t holding(std::int64_t u) const { return ((u + 1) * count - 1) / classes; }
};

}  // namespace

Sampling sampling_from_name(std::string_view name) {
  if (name == "stratified") return Sampling::kStratified;
  if (name == "uniform") return Sampling::kUniform;
  throw Error("sampling \"" + std::string(name) + "\" is unknown; known are stratified, uniform");
}

ClassSampler::ClassSampler(const ClassSamplerOptions& options, const ClassShard& shard)
    : options_(options), shard_(shard) {
  if (!(options.sample_rate >= 0 && options.sample_rate <= 1)) {
    throw Error("the sample rate is " + std::to_string(options.sample_rate) +
                ", want a number from 0 to 1");
  }
  drawn_ = classes_drawn(options.sample_rate, shard.classes());
}

std::int64_t ClassSampler::most_rows(std::int64_t batch_size) const {
  const Strata strata{shard_.classes(), std::max<std::int64_t>(drawn_, 1)};
  // A rank's range meets its own share of strata, one cut off at either end, and one more where the
  // rotation wraps.
  const std::int64_t met = options_.sampling == Sampling::kStratified
                               ? shard_.rows() * strata.count / shard_.classes() + 3
                               : drawn_;
  return std::min(shard_.rows(), std::min(met, drawn_) + batch_size);
}

SampledClasses ClassSampler::draw(std::int64_t step, std::span<const GlobalClass> labels) const {
  SampledClasses sampled;
  std::vector<LocalRow>& rows = sampled.rows;
  rows.reserve(static_cast<std::size_t>(most_rows(static_cast<std::int64_t>(labels.size()))));
  if (drawn_ == shard_.classes()) {
    for (std::int64_t row = 0; row < shard_.rows(); ++row) rows.push_back({row});
  } else if (drawn_ > 0) {
    options_.sampling == Sampling::kStratified ? draw_stratified(step, rows)
                                               : draw_uniform(step, rows);
  }

  std::vector<LocalRow> positives;
  for (const GlobalClass label : labels) {
    if (shard_.owns(label)) positives.push_back(shard_.row(label));
  }
  std::sort(positives.begin(), positives.end());
  positives.erase(std::unique(positives.begin(), positives.end()), positives.end());
  const auto negatives_end = static_cast<std::ptrdiff_t>(rows.size());
  std::set_difference(positives.begin(), positives.end(), rows.begin(),
                      rows.begin() + negatives_end, std::back_inserter(rows));
  std::inplace_merge(rows.begin(), rows.begin() + negatives_end, rows.end());

  sampled.targets.reserve(labels.size());
  for (const GlobalClass label : labels) {
    const bool owned = shard_.owns(label);
    sampled.targets.push_back(
        owned ? static_cast<std::int32_t>(
                    std::lower_bound(rows.begin(), rows.end(), shard_.row(label)) - rows.begin())
              : -1);
  }
  return sampled;
}

void ClassSampler::draw_stratified(std::int64_t step, std::vector<LocalRow>& rows) const {
  const std::int64_t classes = shard_.classes();
  const Strata strata{classes, drawn_};
  const auto counter = static_cast<std::uint64_t>(step);
  const std::int64_t offset =
      CounterRandom(options_.seed, Stream::kStratumOffset).below(classes, counter, 0);
  const CounterRandom random(options_.seed, Stream::kStratumDraw);

  // Strata live on u = (class − offset) mod C. Ascending classes of this rank are one run of u, or
  // two where it wraps.
  const auto draw_run = [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t k = strata.holding(first); k < drawn_ && strata.begin(k) < last; ++k) {
      const std::int64_t begin = strata.begin(k);
      const std::int64_t u =
          begin + random.below(strata.begin(k + 1) - begin, counter, static_cast<std::uint64_t>(k));
      if (first <= u && u < last) rows.push_back(shard_.row({(u + offset) % classes}));
    }
  };
  const std::int64_t first = (shard_.begin().v - offset + classes) % classes;
  const std::int64_t last = first + shard_.rows();
  draw_run(first, std::min(last, classes));
  if (last > classes) draw_run(0, last - classes);
}

void ClassSampler::draw_uniform(std::int64_t step, std::vector<LocalRow>& rows) const {
  const Permutation order(shard_.classes(), CounterRandom(options_.seed, Stream::kUniformOrder),
                          static_cast<std::uint64_t>(step));
  for (std::int64_t i = 0; i < drawn_; ++i) {
    const GlobalClass drawn{order(i)};
    if (shard_.owns(drawn)) rows.push_back(shard_.row(drawn));
  }
  std::sort(rows.begin(), rows.end());
}

}  // namespace pfc
