#pragma once

#include <cstdint>

#include "pfc/head/partial_fc.h"

namespace pfc {

/// The bytes that a rank's head needs.
struct HeadMemory {
  std::int64_t table = 0;  ///< centres and their optimizer state; in host memory if table_is_apart
  std::int64_t step = 0;   ///< working memory of a step, on the device
  bool table_is_apart = false;

  std::int64_t on_device() const { return step + (table_is_apart ? 0 : table); }
};

/// The largest step to come.
struct HeadStepSize {
  std::int64_t rows = 0;     ///< S, rows sampled on this rank (ClassSampler::most_rows)
  std::int64_t samples = 0;  ///< N, samples of a micro-batch over all ranks
  bool accumulates = false;  ///< a step has more than one micro-batch
  int threads = 1;
};

/// How many tiles the head works on at the same time: one for each thread on a CPU, one for each
/// lane on a GPU.
int tiles_at_once(at::Device device);

HeadMemory head_memory(const PartialFcOptions& options, const ClassShard& shard,
                       const HeadStepSize& step);

/// The bytes that a rank may take; on a CPU both are the same memory.
struct FreeMemory {
  std::int64_t device = 0, host = 0;
};

/// Throws Error if the head would not fit. The message says what is needed and what to change.
void require_head_memory(const PartialFcOptions& options, const ClassShard& shard,
                         const HeadStepSize& step, const FreeMemory& free);

}  // namespace pfc
