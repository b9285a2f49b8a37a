#pragma once

#include <cstdint>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/head/partial_fc.h"
#include "pfc/plan/sampler.h"

namespace pfc {

struct BenchmarkOptions {
  PartialFcOptions head = {};  ///< its device and GEMM type are replaced by the ranks' best
  std::string network = {};    ///< of make_backbone, trained too; empty: only the head
  std::int64_t identities = 1'000'000;
  double sample_rate = 0.1;
  Sampling sampling = Sampling::kStratified;
  std::int64_t batch_size = 128;  ///< over all ranks
  std::int64_t steps = 5;         ///< measured steps; one more before them is not measured
};

struct BenchmarkResult {
  double seconds = 0;            ///< of a step, the median
  std::int64_t centers = 0;      ///< used by a step over all ranks, the mean
  std::int64_t table_bytes = 0;  ///< the largest rank's: centres and their optimizer state
  /// The peak of the largest process, including a table in its memory; on GPUs, the peak that it
  /// took of its GPU's memory.
  std::int64_t memory_bytes = 0;
};

/// Runs training steps on random labels, without input and output: the head alone on random
/// embeddings, or with a network on random pixels. They run on the communicator's device; on a GPU
/// the network computes in half precision. All ranks call it together and get the same result.
BenchmarkResult benchmark(BenchmarkOptions options, Communicator& comm);

}  // namespace pfc
