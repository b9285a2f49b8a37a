#pragma once

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

}  // namespace pfc
