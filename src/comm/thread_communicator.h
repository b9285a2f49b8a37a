#pragma once

#include <chrono>
#include <functional>

#include "pfc/comm/communicator.h"

namespace pfc {

/// For tests: runs body(comm) on `world` threads of this process, each a rank, and returns when all
/// have ended. Each rank computes with one thread. If a body throws, the collectives in which
/// others wait throw too, and the exception of the first rank that threw is rethrown.
void run_ranks(int world, const std::function<void(Communicator& comm)>& body,
               std::chrono::milliseconds timeout = std::chrono::minutes(5));

}  // namespace pfc
