#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/comm/launch.h"

namespace pfc {

/// All ranks of a launch, each on its GPU (gpu_of). They meet through `host`, a communicator of the
/// same ranks for host memory, which is kept as long as the result; its ranks must be known to have
/// a GPU each. Throws Error if pfc was built without CUDA.
///
/// Collectives run on a stream of their own, after the work that the current stream had when they
/// began. `wait` makes the current stream wait for them, not the host. If a collective (or NCCL's
/// start) is not over after `timeout`, or NCCL reports an error, `when_stuck` is called once, on a
/// thread of its own, with a sentence that names rank and call. It should end the process: other
/// threads may wait for the GPU forever, where no exception reaches them.
///
/// Collectives can be a part of a CUDA graph, whose launches `relaunched` watches.
std::unique_ptr<Communicator> make_nccl_communicator(
    const Launch& launch, std::unique_ptr<Communicator> host, std::chrono::seconds timeout,
    std::function<void(const std::string&)> when_stuck);

}  // namespace pfc
