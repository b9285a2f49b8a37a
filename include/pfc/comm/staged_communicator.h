#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Ranks on GPUs that talk through `host`, a communicator of the same ranks for host memory. Ranks
/// may share a GPU, which NCCL refuses. `device` is the GPU of this rank.
///
/// A tensor on the GPU is copied to pinned memory by a stream of its own, after the work that the
/// current stream had when its collective began. The collective of `host` begins when the copy has
/// arrived, in the order of the calls. Nobody waits for that but `wait`; every other call and every
/// `poll` begins what can begin. `wait` holds the host until the collective of `host` is over, and
/// puts the way back to the GPU on the stream that is current then.
///
/// Tensors in host memory are handed on. Types and errors are those of `host`. A collective cannot
/// be a part of a CUDA graph, because the host has a part in it.
std::unique_ptr<Communicator> make_staged_communicator(std::shared_ptr<Communicator> host,
                                                       at::Device device);

}  // namespace pfc
