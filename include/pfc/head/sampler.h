#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "pfc/head/class_shard.h"

namespace pfc {

/// How the negatives of a step are drawn.
enum class Sampling {
  kStratified,  ///< one class from each of ⌈rC⌉ equal strata, rotated by a random offset each step
  kUniform,     ///< ⌈rC⌉ classes without replacement, for comparison
};

/// Throws Error, naming the known ones, where there is none of that name.
Sampling sampling_from_name(std::string_view name);

/// The centres one rank uses in one step.
struct SampledClasses {
  std::vector<LocalRow> rows;  ///< [S] ascending, without duplicates
  /// [B] where a sample's own class stands in `rows`; −1 where another rank owns it.
  std::vector<std::int32_t> targets;
};

struct ClassSamplerOptions {
  double sample_rate = 1.0;  ///< r, the share of all classes that a step uses; 1 is model
                             ///< parallelism, 0 positives only
  Sampling sampling = Sampling::kStratified;
  std::uint64_t seed = 0;
};

/// Draws the positives of the global batch and a random share of the other classes: a pure function
/// of (seed, step, labels), so the ranks' parts together are the same for any number of ranks.
/// Costs O(S), never O(C).
class ClassSampler {
 public:
  /// Throws Error where the rate is not within [0, 1].
  ClassSampler(const ClassSamplerOptions& options, const ClassShard& shard);

  SampledClasses draw(std::int64_t step, std::span<const GlobalClass> labels) const;

  const ClassShard& shard() const { return shard_; }
  /// S₀ = ⌈rC⌉, the classes drawn over all ranks before positives are added.
  std::int64_t drawn() const { return drawn_; }
  /// No draw of this rank holds more rows than this, for a global batch of `batch_size`.
  std::int64_t most_rows(std::int64_t batch_size) const;

 private:
  void draw_stratified(std::int64_t step, std::vector<LocalRow>& rows) const;
  void draw_uniform(std::int64_t step, std::vector<LocalRow>& rows) const;

  ClassSamplerOptions options_;
  ClassShard shard_;
  std::int64_t drawn_;
};

}  // namespace pfc
