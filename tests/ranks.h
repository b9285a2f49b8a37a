#pragma once

#include <functional>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Runs body(comm) on several ranks: on those that mpirun started, where it did, else on threads,
/// for worlds of 1, 2, 3 and 4. Checks of gtest may stand in it, those that return may not: every
/// rank must go through the same collectives. Tests that use it have names that begin with Ranks.
void on_ranks(const std::function<void(Communicator& comm)>& body);

}  // namespace pfc
