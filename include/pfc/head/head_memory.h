#pragma once

#include <cstdint>

#include "pfc/head/partial_fc.h"

namespace pfc {

/// What a rank's head needs, in bytes.
struct HeadMemory {
  std::int64_t table = 0;  ///< centres and their optimizer's state, in the host's memory or …
  std::int64_t step = 0;   ///< … with what a step works with, in the device's
  bool table_is_apart = false;

  std::int64_t on_device() const { return step + (table_is_apart ? 0 : table); }
};

/// The largest step that is to come.
struct HeadStepSize {
  std::int64_t rows = 0;     ///< S, sampled on this rank (ClassSampler::most_rows)
  std::int64_t samples = 0;  ///< N of a micro-batch, over all ranks
  bool accumulates = false;  ///< more than one micro-batch a step
  int threads = 1;
};

/// Tiles that the head works on at the same time: on the CPU one a thread, on a GPU one a lane.
int tiles_at_once(at::Device device);

HeadMemory head_memory(const PartialFcOptions& options, const ClassShard& shard,
                       const HeadStepSize& step);

/// What a rank may take, in bytes: the same of a CPU.
struct FreeMemory {
  std::int64_t device = 0, host = 0;
};

/// Throws Error where the head would not fit, with what is needed and what to change.
void require_head_memory(const PartialFcOptions& options, const ClassShard& shard,
                         const HeadStepSize& step, const FreeMemory& free);

}  // namespace pfc
