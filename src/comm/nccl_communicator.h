#pragma once

#include <chrono>
#include <memory>

#include "pfc/comm/communicator.h"
#include "pfc/comm/launch.h"

namespace pfc {

/// All ranks of a launch, each on its GPU (gpu_of). They meet through `host` (of MPI), which is
/// kept as long as the result and whose ranks are known to have a GPU each, or where that is null
/// at the launch's address, where this throws Error if two of them have the same.
///
/// Collectives run on a stream of their own, after what the current stream held when they began;
/// `wait` makes the current stream wait for them and not the host. A collective that is not over
/// after `timeout`, NCCL's start among them, or that NCCL reports as broken, ends this process with
/// a sentence that names rank and call: nobody may be waiting who could be told.
std::unique_ptr<Communicator> make_nccl_communicator(const Launch& launch,
                                                     std::unique_ptr<Communicator> host,
                                                     std::chrono::seconds timeout);

}  // namespace pfc
