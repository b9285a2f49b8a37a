#pragma once

#include <functional>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Runs body(comm) on several ranks: on those that mpirun or torchrun started, otherwise on
/// threads, for worlds of 1, 2, 3 and 4. Checks of gtest may be used in it, except those that
/// return (ASSERT_…): every rank must go through the same collectives. Tests that use this have
/// names that begin with Ranks.
void on_ranks(const std::function<void(Communicator& comm)>& body);

/// The same on ranks of each communicator whose theorems are tested.
void on_all_back_ends(const std::function<void(Communicator& comm)>& body);

}  // namespace pfc
