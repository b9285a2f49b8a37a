#pragma once

#include <cstdint>

#include "pfc/head/partial_fc.h"

namespace pfc {

/// What a rank's head needs, in bytes.
struct HeadMemory {
  std::int64_t table = 0;  ///< centres and their optimizer's state
  std::int64_t step = 0;   ///< what a step works with
  std::int64_t total() const { return table + step; }
};

/// The largest step that is to come.
struct HeadStepSize {
  std::int64_t rows = 0;     ///< S, sampled on this rank (ClassSampler::most_rows)
  std::int64_t samples = 0;  ///< N of a micro-batch, over all ranks
  bool accumulates = false;  ///< more than one micro-batch a step
  int threads = 1;
};

HeadMemory head_memory(const PartialFcOptions& options, const ClassShard& shard,
                       const HeadStepSize& step);

/// Throws Error where the head would not fit what `available` bytes there are, with what is needed
/// and what to change.
void require_head_memory(const PartialFcOptions& options, const ClassShard& shard,
                         const HeadStepSize& step, std::int64_t available);

}  // namespace pfc
