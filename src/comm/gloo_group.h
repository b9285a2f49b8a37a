#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace pfc {

/// A process group over gloo, as torch.distributed makes it. Returns when all ranks have met at the
/// store; throws what LibTorch throws if they do not within `timeout`, which is also that of the
/// group's collectives.
c10::intrusive_ptr<c10d::ProcessGroup> make_gloo_group(const c10::intrusive_ptr<c10d::Store>& store,
                                                       int rank, int world,
                                                       std::chrono::milliseconds timeout);

}  // namespace pfc
