#include <ATen/Functions.h>

#include <cstdlib>
#include <memory>

#include "comm/mpi_communicator.h"
#include "comm/nccl_communicator.h"
#include "pfc/base/error.h"
#include "pfc/comm/communicator.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/launch.h"

namespace pfc {
namespace {

bool has_gpu(const Launch& launch, UseGpus use) {
  return use != UseGpus::kNever && gpus() > launch.local_rank;
}

}  // namespace

std::unique_ptr<Communicator> join_ranks(const Launch& launch, UseGpus use,
                                         std::chrono::seconds timeout) {
  switch (launch.way) {
    case Launch::Way::kAlone:
      return decide_on_gpus(use, has_gpu(launch, use) ? 1 : 0, 1)
                 ? make_self_communicator({at::kCUDA, 0})
                 : make_self_communicator();
    case Launch::Way::kMpi: {
      auto host = make_mpi_communicator(timeout);
      if (use == UseGpus::kNever) return host;
      at::Tensor with_gpu = at::full({1}, has_gpu(launch, use) ? 1 : 0, at::kLong);
      host->all_reduce(with_gpu).wait();
      if (!decide_on_gpus(use, with_gpu.item<int>(), launch.world)) return host;
      return make_nccl_communicator(launch, std::move(host), timeout);
    }
    case Launch::Way::kRendezvous:
      if (use == UseGpus::kNever) {
        throw Error(
            "torchrun, and srun without PMIx, start ranks that meet on GPUs, and those of this "
            "command meet through MPI: start them with mpirun, or srun --mpi=pmix");
      }
      return make_nccl_communicator(launch, nullptr, timeout);
  }
  return nullptr;
}

void end_all_ranks(int status) {
  end_mpi(status);
  std::_Exit(status);  // what waits for the other ranks must not be destroyed
}

}  // namespace pfc
