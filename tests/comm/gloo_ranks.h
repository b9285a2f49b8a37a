#pragma once

#include <chrono>
#include <functional>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Runs body(comm) on `world` threads of this process, each a rank with a process group of its own
/// over gloo. Rethrows what the first rank that failed threw.
void run_gloo_ranks(int world, const std::function<void(Communicator& comm)>& body,
                    std::chrono::milliseconds timeout = std::chrono::minutes(1));

}  // namespace pfc
