#include "pfc/plan/sampler.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

/// ⌈rN⌉, with r read as the decimal that was typed: 0.1 · 30 is 3, not 4.
std::int64_t share_of(std::int64_t all, double rate) {
  const double product = rate * static_cast<double>(all);
  const double nearest = std::round(product);
  const bool whole = std::abs(product - nearest) < 1e-9 * static_cast<double>(all);
  return std::min(all, static_cast<std::int64_t>(whole ? nearest : std::ceil(product)));
}

}  // namespace

ClassSampler::ClassSampler(const ClassSamplerOptions& options, const ClassShard& shard)
    : options_(options),
      shard_(shard.of_centers(1)),
      block_classes_(options.sampling == Sampling::kBlocks ? kBlockClasses : 1) {
  for (const auto& [from, rate] : options.sample_rate.pieces()) {
    if (!(rate >= 0 && rate <= 1)) {
      throw Error("the sample rate is " + std::to_string(rate) + ", want a number from 0 to 1");
    }
  }
}

std::int64_t ClassSampler::units(std::int64_t classes) const {
  return (classes + block_classes_ - 1) / block_classes_;
}

std::int64_t ClassSampler::units_drawn(std::int64_t step) const {
  return share_of(units(shard_.classes()), options_.sample_rate.at(step));
}

std::int64_t ClassSampler::drawn(std::int64_t step) const {
  return std::min(units_drawn(step) * block_classes_, shard_.classes());
}

std::int64_t ClassSampler::most_rows(std::int64_t batch_size, std::int64_t step) const {
  const std::int64_t count = units_drawn(step);
  // A rank's range meets its own share of strata, one that is cut off at each end, and one more
  // where the rotation wraps. Of its blocks too, each end may cut one.
  const std::int64_t touched = units(shard_.rows()) + (block_classes_ > 1 ? 1 : 0);
  const std::int64_t met = options_.sampling == Sampling::kUniform
                               ? count
                               : touched * count / units(shard_.classes()) + 3;
  return std::min(shard_.rows(), std::min(met, count) * block_classes_ + batch_size);
}

SampledClasses ClassSampler::draw(std::int64_t step, std::span<const GlobalClass> labels) const {
  SampledClasses sampled{.step = step, .drawn_in_all = drawn(step)};
  if (options_.sampling != Sampling::kUniform || sampled.drawn_in_all == shard_.classes()) {
    if (sampled.drawn_in_all > 0) sampled.drawn = draw_stratified(step);
  } else {
    sampled.others = draw_uniform(step, sampled.drawn_in_all);
  }

  std::vector<LocalRow> positives;
  for (const GlobalClass label : labels) {
    if (shard_.owns(label)) positives.push_back(shard_.row(label));
  }
  std::ranges::sort(positives);
  positives.erase(std::unique(positives.begin(), positives.end()), positives.end());
  std::erase_if(positives, [&](LocalRow row) { return sampled.drawn.contains(row); });
  std::vector<LocalRow> others;
  std::ranges::set_union(sampled.others, positives, std::back_inserter(others));
  sampled.others = std::move(others);

  sampled.targets.reserve(labels.size());
  for (const GlobalClass label : labels) {
    if (!shard_.owns(label)) {
      sampled.targets.emplace_back();
      continue;
    }
    const LocalRow row = shard_.row(label);
    const auto others_below =
        std::ranges::lower_bound(sampled.others, row) - sampled.others.begin();
    sampled.targets.push_back({static_cast<std::int32_t>(sampled.drawn.below(row) + others_below)});
  }
  return sampled;
}

StratifiedDraw ClassSampler::draw_stratified(std::int64_t step) const {
  const std::int64_t blocks = units(shard_.classes());
  const auto counter = static_cast<std::uint64_t>(step);
  StratifiedDraw draw{
      .block_classes = block_classes_,
      .blocks = blocks,
      .strata = units_drawn(step),
      .offset =
          CounterRandom(options_.seed, RandomStream::kStratumOffset).below(blocks, counter, 0),
      .first_class = shard_.begin().v,
      .step = counter,
      .random = CounterRandom(options_.seed, RandomStream::kStratumDraw)};
  if (shard_.rows() == 0) return draw;
  // In terms of u, the blocks of this rank are one run, or two if the rotation wraps. A stratum
  // that an end cuts may have its draw beyond that end.
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    if (begin >= end) return StratifiedDraw::Run{};
    std::int64_t first = draw.holding(begin), last = draw.holding(end - 1);
    if (draw.at(first) < begin) ++first;
    if (draw.at(last) >= end) --last;
    return StratifiedDraw::Run{first, last - first + 1};
  };
  const LocalRow last_row{shard_.rows() - 1};
  const std::int64_t touched =
      (shard_.begin().v + last_row.v) / block_classes_ - shard_.begin().v / block_classes_ + 1;
  const std::int64_t begin = draw.place_on_strata({0}), end = begin + touched;
  draw.runs = {run(begin, std::min(end, blocks)), run(0, end - blocks)};
  if (draw.contains({0})) draw.cut_first = draw.place_in_block({0});
  if (draw.contains(last_row)) draw.cut_last = block_classes_ - 1 - draw.place_in_block(last_row);
  return draw;
}

std::vector<LocalRow> ClassSampler::draw_uniform(std::int64_t step, std::int64_t count) const {
  std::vector<LocalRow> rows;
  const Permutation order(shard_.classes(),
                          CounterRandom(options_.seed, RandomStream::kUniformOrder),
                          static_cast<std::uint64_t>(step));
  for (std::int64_t i = 0; i < count; ++i) {
    const GlobalClass drawn_class{order(i)};
    if (shard_.owns(drawn_class)) rows.push_back(shard_.row(drawn_class));
  }
  std::ranges::sort(rows);
  return rows;
}

void SampledClasses::list(std::int64_t begin, std::span<LocalRow> rows) const {
  auto other = std::ranges::partition_point(others, [&](const LocalRow& row) {
    return drawn.below(row) + (&row - others.data()) < begin;
  });
  std::int64_t i = begin - (other - others.begin());
  LocalRow next{0};
  bool first = true;
  const auto advance = [&] {
    if (i >= drawn.count()) {
      next.v = std::numeric_limits<std::int64_t>::max();
    } else if (!first && !drawn.begins_block(i)) {
      ++next.v;  // only a block's first row costs a draw
    } else {
      next = drawn.row(i);
    }
    first = false;
    ++i;
  };
  advance();
  for (LocalRow& row : rows) {
    if (other != others.end() && *other < next) {
      row = *other++;
    } else {
      row = next;
      advance();
    }
  }
}

std::vector<LocalRow> SampledClasses::rows() const {
  std::vector<LocalRow> rows(static_cast<std::size_t>(count()));
  list(0, rows);
  return rows;
}

}  // namespace pfc
