#pragma once

#include <cstdint>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Where a rank runs.
struct Placement {
  int machines = 1;
  int local_rank = 0, local_world = 1;  ///< among the ranks of this machine
  int cores = 1;                        ///< that this machine's ranks may run on, together

  /// For arithmetic: the cores, shared evenly.
  int threads() const { return cores > local_world ? cores / local_world : 1; }
};

/// Asks all ranks where they are; all call it together. mpirun binds a rank to one core where it is
/// not told anything: such a binding is undone, one that was asked for (--bind-to) is kept.
Placement place_ranks(Communicator& comm);

/// Sets how many threads this rank computes on: `threads`, or where that is 0 what OMP_NUM_THREADS
/// says, or where that is not set the rank's share of the cores.
void set_threads(std::int64_t threads, const Placement& placement);

}  // namespace pfc
