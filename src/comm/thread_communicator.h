#pragma once

#include <chrono>
#include <functional>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Runs body(comm) on `world` threads of this process, each a rank, and returns when all have
/// ended; for tests. Each computes on one thread. Where a body throws, collectives that the others
/// wait in throw too, and the exception of the rank that threw first is thrown on.
void run_ranks(int world, const std::function<void(Communicator& comm)>& body,
               std::chrono::milliseconds timeout = std::chrono::minutes(5));

}  // namespace pfc
