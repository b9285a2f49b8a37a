#pragma once

#include <cstdint>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/head/partial_fc.h"

namespace pfc {

struct BenchmarkOptions {
  PartialFcOptions head = {};  ///< its device and GEMMs are what the ranks work on best
  std::string network = {};    ///< of make_backbone, trained too; empty: the head alone
  std::int64_t identities = 1'000'000;
  double sample_rate = 0.1;
  std::int64_t batch_size = 128;  ///< over all ranks
  std::int64_t steps = 5;         ///< measured, after one that is not
};

struct BenchmarkResult {
  double seconds = 0;            ///< a step, the median
  std::int64_t centers = 0;      ///< that a step uses, over all ranks, the mean
  std::int64_t table_bytes = 0;  ///< the largest rank's: centres and their optimizer state
  /// The largest process's at its largest, a table in its memory included; on GPUs what it took of
  /// its GPU's.
  std::int64_t memory_bytes = 0;
};

/// Training steps on random labels, without input and output: of the head alone, on random
/// embeddings, or with a network, on random pixels; on the communicator's device, where the network
/// computes in half precision if that is a GPU. All ranks call it together and get the same.
BenchmarkResult benchmark(BenchmarkOptions options, Communicator& comm);

}  // namespace pfc
