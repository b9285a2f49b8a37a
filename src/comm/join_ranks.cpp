#include <ATen/Functions.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "comm/gloo_communicator.h"
#include "comm/mpi_communicator.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/progress.h"
#include "pfc/comm/communicator.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/join_ranks.h"
#include "pfc/comm/nccl_communicator.h"
#include "pfc/comm/staged_communicator.h"

namespace pfc {
namespace {

/// The ids of every rank.
std::vector<GpuId> ids_of_gpus(const Launch& launch, Communicator& host) {
  const GpuId mine = gpus() > 0 ? gpu_properties(gpu_of(launch.local_rank)).id : GpuId{};
  const at::Tensor bytes = at::empty({1, sizeof(GpuId)}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), &mine, sizeof(GpuId));
  const at::Tensor all = host.all_gather(bytes).wait();
  std::vector<GpuId> ids(static_cast<std::size_t>(host.world()));
  std::memcpy(ids.data(), all.const_data_ptr(), ids.size() * sizeof(GpuId));
  return ids;
}

void end_with(const std::string& sentence) {
  tell("pfc: " + sentence);
  end_all_ranks(1);
}

}  // namespace

std::unique_ptr<Communicator> join_ranks(const Launch& launch, UseGpus use,
                                         std::chrono::seconds timeout) {
  if (launch.way == Launch::Way::kAlone) {
    return decide_on_gpus(use, use != UseGpus::kNever && gpus() > 0 ? 1 : 0, 1)
               ? make_self_communicator({at::kCUDA, 0})
               : make_self_communicator();
  }
  auto host = launch.way == Launch::Way::kMpi ? make_mpi_communicator(timeout)
                                              : make_gloo_communicator(launch, timeout);
  if (use == UseGpus::kNever) return host;
  const FoundGpus found = count_gpus(ids_of_gpus(launch, *host));
  if (!decide_on_gpus(use, found.ranks, launch.world)) return host;
  if (found.gpus == launch.world)
    return make_nccl_communicator(launch, std::move(host), timeout, end_with);
  if (host->is_first()) {
    tell("note: " + counted(launch.world, "rank") + " share " + counted(found.gpus, "GPU") +
         " and exchange tensors through host memory; a rank for each GPU would be faster");
  }
  return make_staged_communicator(
      std::move(host), {at::kCUDA, static_cast<c10::DeviceIndex>(gpu_of(launch.local_rank))});
}

void end_all_ranks(int status) {
  end_mpi(status);
  std::_Exit(status);  // objects that wait for other ranks must not be destroyed
}

}  // namespace pfc
