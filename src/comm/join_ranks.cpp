#include <cstdlib>
#include <memory>

#include "comm/mpi_communicator.h"
#include "pfc/base/error.h"
#include "pfc/comm/communicator.h"
#include "pfc/comm/launch.h"

namespace pfc {

std::unique_ptr<Communicator> join_ranks(const Launch& launch, std::chrono::seconds timeout) {
  switch (launch.way) {
    case Launch::Way::kAlone:
      return make_self_communicator();
    case Launch::Way::kMpi:
      return make_mpi_communicator(timeout);
    case Launch::Way::kRendezvous:
      throw Error(
          "torchrun, and srun without PMIx, start ranks for GPUs; training runs on CPUs so far: "
          "start them with mpirun, or srun --mpi=pmix");
  }
  return nullptr;
}

void end_all_ranks(int status) {
  end_mpi(status);
  std::_Exit(status);  // what waits for the other ranks must not be destroyed
}

}  // namespace pfc
