#pragma once

#include <cstdint>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Where a rank runs.
struct Placement {
  int machines = 1;
  int local_rank = 0, local_world = 1;  ///< among the ranks of this machine
  int ranks_on_gpu = 0;                 ///< that work on this rank's GPU, if it has one
  int cores = 1;                        ///< cores that this machine's ranks may use, together

  /// Threads for arithmetic: the cores, shared evenly.
  int threads() const { return cores > local_world ? cores / local_world : 1; }
};

/// Asks all ranks where they are; all call it together. By default mpirun binds a rank to one core.
/// Such a binding is undone; one that the user asked for (--bind-to) is kept.
Placement place_ranks(Communicator& comm);

/// Sets how many threads this rank computes with: `threads` if it is not 0, otherwise
/// OMP_NUM_THREADS, otherwise the rank's share of the cores.
void set_threads(std::int64_t threads, const Placement& placement);

}  // namespace pfc
