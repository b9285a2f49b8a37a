#pragma once

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <memory>

#include "pfc/comm/communicator.h"

namespace c10d {
class ProcessGroup;
}  // namespace c10d

namespace pfc {

/// The ranks of a process group of LibTorch, for example the one that torch.distributed has made in
/// Python (c10d::resolve_process_group finds it by its name). All collectives go through it, and
/// the order of its other users' collectives must be the same on all ranks, as always.
///
/// `device` is where this rank computes. Tensors for which the group has no back end go through
/// memory for which it has one. With gloo, collectives run on its threads in host memory. With
/// NCCL, `wait` makes the current stream wait, and not the host.
///
/// Tensors of any type are moved. Sums are those of the group's back end and equal on all ranks;
/// with gloo, reduce_scatter adds up in the order of ranks, and rounds only once for types shorter
/// than 32 bits. A collective over nothing returns at once.
///
/// Collectives throw Error, which names rank and call, if a rank does not join within the group's
/// own timeout or if the group was destroyed, and RankLost if another rank has ended.
std::unique_ptr<Communicator> make_process_group_communicator(
    c10::intrusive_ptr<c10d::ProcessGroup> group, at::Device device = at::kCPU);

}  // namespace pfc
