#pragma once

#include <chrono>
#include <memory>

#include "pfc/comm/communicator.h"

namespace pfc {

/// All processes that mpirun started, on CPU tensors. MPI is initialised, and finalised when the
/// communicator goes without an exception under way: a rank that fails must not wait for the
/// others.
std::unique_ptr<Communicator> make_mpi_communicator(std::chrono::seconds timeout);

/// Ends all of mpirun's processes with `status`; returns where MPI does not run.
void end_mpi(int status);

}  // namespace pfc
