#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "pfc/base/names.h"
#include "pfc/base/random.h"
#include "pfc/base/stepwise_number.h"
#include "pfc/plan/class_shard.h"

namespace pfc {

/// How the negatives of a step are drawn.
enum class Sampling {
  kStratified,  ///< one class from each of ⌈rC⌉ equal strata, which are rotated by a random offset
                ///< each step
  kUniform,  ///< ⌈rC⌉ classes without replacement, for comparison
  kBlocks,   ///< as kStratified, of blocks of kBlockClasses classes: rows that lie together are
             ///< drawn together
};

/// A block begins at a multiple of this. Eight rows of the smallest common size, 128 floats, fill a
/// page of 4 KiB, which is what a disk reads and a processor fetches ahead. Longer rows lie in
/// blocks of more pages; fewer classes a block would save them nothing, and more would make the
/// negatives of a step more alike.
inline constexpr std::int64_t kBlockClasses = 8;

template <>
struct Names<Sampling> {
  static constexpr auto kAll = named_values<Sampling>({{Sampling::kStratified, "stratified"},
                                                       {Sampling::kUniform, "uniform"},
                                                       {Sampling::kBlocks, "blocks"}});
};

/// A stratified draw: one block of consecutive classes from each of S₀ equal strata of all blocks,
/// rotated. Of a block that the border of two ranks cuts, each rank draws its own part. The strata
/// of a rank form at most two runs. The description is small, and any of its rows is found by
/// arithmetic, which is what GPUs do.
struct StratifiedDraw {
  struct Run {
    std::int64_t first = 0, count = 0;  ///< strata
    bool operator==(const Run&) const = default;
  };

  std::int64_t block_classes =
      1;  ///< a block begins at a multiple of this; the last may be shorter
  std::int64_t blocks = 0, strata = 0;  ///< ⌈C/block_classes⌉, S₀
  std::int64_t offset = 0;       ///< strata lie on the line u = (block − offset) mod blocks
  std::int64_t first_class = 0;  ///< of the rank
  std::uint64_t step = 0;
  CounterRandom random{0, RandomStream::kStratumDraw};
  std::array<Run, 2> runs = {};
  /// Classes of this rank's first and last drawn block that are not its own, or do not exist.
  std::int64_t cut_first = 0, cut_last = 0;

  /// Where stratum k begins. It holds ⌊blocks/S₀⌋ or ⌈blocks/S₀⌉ blocks.
  constexpr std::int64_t begin(std::int64_t k) const { return k * blocks / strata; }
  /// The stratum that holds u: the last k with begin(k) <= u.
  constexpr std::int64_t holding(std::int64_t u) const { return ((u + 1) * strata - 1) / blocks; }
  /// The u that is drawn from stratum k.
  constexpr std::int64_t at(std::int64_t k) const {
    const std::int64_t size = begin(k + 1) - begin(k);
    return size == 1 ? begin(k)
                     : begin(k) + random.below(size, step, static_cast<std::uint64_t>(k));
  }
  constexpr std::int64_t place_on_strata(LocalRow row) const {
    return ((row.v + first_class) / block_classes - offset + blocks) % blocks;
  }
  /// A row's place in its block.
  constexpr std::int64_t place_in_block(LocalRow row) const {
    return (row.v + first_class) % block_classes;
  }

  constexpr std::int64_t count() const {
    return (runs[0].count + runs[1].count) * block_classes - cut_first - cut_last;
  }
  /// The i-th row drawn for this rank, ascending.
  constexpr LocalRow row(std::int64_t i) const {
    const std::int64_t nth = (i + cut_first) / block_classes;
    const std::int64_t k =
        nth < runs[0].count ? runs[0].first + nth : runs[1].first + nth - runs[0].count;
    return {(at(k) + offset) % blocks * block_classes + (i + cut_first) % block_classes -
            first_class};
  }
  /// Whether the i-th row drawn does not follow its predecessor in the same block.
  constexpr bool begins_block(std::int64_t i) const { return (i + cut_first) % block_classes == 0; }
  /// How many of this rank's drawn rows lie below `row`.
  constexpr std::int64_t below(LocalRow row) const {
    if (count() == 0) return 0;
    const std::int64_t u = place_on_strata(row), k = holding(u), drawn = at(k);
    const bool wrapped = u < place_on_strata({0});
    const std::int64_t before = wrapped ? runs[0].count - runs[1].first : -runs[0].first;
    return (before + k + (drawn < u ? 1 : 0)) * block_classes +
           (drawn == u ? place_in_block(row) : 0) - cut_first;
  }
  constexpr bool contains(LocalRow row) const {
    if (count() == 0) return false;
    const std::int64_t u = place_on_strata(row);
    return at(holding(u)) == u;
  }
  bool operator==(const StratifiedDraw&) const = default;
};

/// The centres that one rank uses in one step, ascending and without duplicates. They are described
/// in memory of the size of the batch, and listed only where they are needed.
struct SampledClasses {
  std::int64_t step = 0;  ///< that they were drawn for
  /// ClassSampler::drawn of the step; where it changes, so does the room that steps need.
  std::int64_t drawn_in_all = 0;
  StratifiedDraw drawn = {};
  std::vector<LocalRow> others =
      {};  ///< ascending: positives that the strata did not draw, or every class of a uniform draw
  std::vector<SampledPlace> targets = {};  ///< [B] of the samples' own classes

  /// S
  std::int64_t count() const { return drawn.count() + std::ssize(others); }
  /// Writes the sampled rows from the begin-th on into `rows`.
  void list(std::int64_t begin, std::span<LocalRow> rows) const;
  std::vector<LocalRow> rows() const;
  bool operator==(const SampledClasses&) const = default;
};

struct ClassSamplerOptions {
  /// r, the share of all classes that a step uses; 1 is model parallelism, 0 positives only. It
  /// may change at given steps.
  StepwiseNumber sample_rate = 1.0;
  Sampling sampling = Sampling::kStratified;
  std::uint64_t seed = 0;
};

/// Draws the positives of the global batch and a random share of the other classes. A pure function
/// of (seed, step, labels), also where the rate changes, so the parts of all ranks together do not
/// depend on the number of ranks. A stratified draw costs O(B log B) and listing it O(S); nothing
/// costs O(C).
class ClassSampler {
 public:
  /// Classes are drawn, however many centres each has in `shard`. Throws Error if the rate is not
  /// within [0, 1].
  ClassSampler(const ClassSamplerOptions& options, const ClassShard& shard);

  SampledClasses draw(std::int64_t step, std::span<const GlobalClass> labels) const;

  const ClassShard& shard() const { return shard_; }
  /// ⌈rC⌉, the number of classes drawn over all ranks before positives are added. Of blocks
  /// ⌈r⌈C/8⌉⌉ are drawn; then it is the number of classes that they hold at most.
  std::int64_t drawn(std::int64_t step) const;
  /// The most rows that a draw of this rank can hold at the rate of `step`, for a global batch of
  /// `batch_size`.
  std::int64_t most_rows(std::int64_t batch_size, std::int64_t step = 0) const;

 private:
  /// The units of a draw, classes or blocks: how many there are of `classes` classes.
  std::int64_t units(std::int64_t classes) const;
  /// How many of the units a step draws over all ranks.
  std::int64_t units_drawn(std::int64_t step) const;
  StratifiedDraw draw_stratified(std::int64_t step) const;
  std::vector<LocalRow> draw_uniform(std::int64_t step, std::int64_t count) const;

  ClassSamplerOptions options_;
  ClassShard shard_;
  std::int64_t block_classes_;  ///< of a unit
};

}  // namespace pfc
