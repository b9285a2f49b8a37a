#pragma once

#include <cstdint>

#include "pfc/comm/communicator.h"
#include "pfc/head/partial_fc.h"

namespace pfc {

struct HeadBenchmarkOptions {
  PartialFcOptions head = {};
  std::int64_t identities = 1'000'000;
  double sample_rate = 0.1;
  std::int64_t batch_size = 128;  ///< over all ranks
  std::int64_t steps = 5;         ///< measured, after one that is not
};

struct HeadBenchmarkResult {
  double seconds = 0;             ///< a step, the median
  std::int64_t centers = 0;       ///< of this rank that a step uses, the mean
  std::int64_t table_bytes = 0;   ///< of this rank: centres and their optimizer state
  std::int64_t memory_bytes = 0;  ///< of this process at its largest, the table included
};

/// Steps of the head alone on random embeddings and labels: what Partial FC costs, without a
/// backbone and without data.
HeadBenchmarkResult benchmark_head(const HeadBenchmarkOptions& options, Communicator& comm);

}  // namespace pfc
