#pragma once

#include <chrono>
#include <memory>

#include "pfc/comm/communicator.h"
#include "pfc/comm/launch.h"

namespace pfc {

/// All ranks of a launch that meet at an address (torchrun, srun without PMIx), with CPU tensors.
/// Throws Error if they do not all meet within `timeout`.
std::unique_ptr<Communicator> make_gloo_communicator(const Launch& launch,
                                                     std::chrono::seconds timeout);

}  // namespace pfc
