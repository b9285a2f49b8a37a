#pragma once

#include <chrono>
#include <memory>

#include "pfc/comm/launch.h"

namespace pfc {

class Communicator;

/// How long a rank waits for the others by default.
inline constexpr std::chrono::minutes kUsualTimeout{10};

/// Meets the other ranks. The communicator's device is this rank's GPU (gpu_of), or all ranks are
/// on CPUs. Where each rank has a GPU of its own, they talk through NCCL; where ranks share GPUs,
/// through host memory, which the first rank tells. If a rank does not join a collective within
/// `timeout`, it throws Error. Call this once.
std::unique_ptr<Communicator> join_ranks(const Launch& launch, UseGpus use,
                                         std::chrono::seconds timeout = kUsualTimeout);

/// Ends the other ranks at once, and this process with `status`.
[[noreturn]] void end_all_ranks(int status);

}  // namespace pfc
