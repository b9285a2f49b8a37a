#pragma once

#include <chrono>
#include <memory>

#include "pfc/comm/communicator.h"

namespace pfc {

/// All processes that mpirun started, with CPU tensors. Loads MPI, which throws Error if it is not
/// there, and initialises it. Finalises it when the communicator is destroyed, except while an
/// exception is under way: a rank that fails must not wait for the others.
std::unique_ptr<Communicator> make_mpi_communicator(std::chrono::seconds timeout);

/// Ends all processes of mpirun with `status`; returns if MPI was not loaded or does not run.
void end_mpi(int status);

}  // namespace pfc
