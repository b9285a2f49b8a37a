#include "pfc/comm/placement.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "pfc/comm/gpus.h"

namespace pfc {
namespace {

/// What a rank tells the others, in bytes.
struct Place {
  std::array<char, 256> host;
  cpu_set_t cores;
  GpuId gpu;  ///< zeros on a CPU
};

bool bound_without_being_asked() {
  return std::getenv("OMPI_MCA_orte_bound_at_launch") != nullptr &&
         std::getenv("OMPI_MCA_hwloc_base_binding_policy") == nullptr;
}

/// The system removes the cores that this job may not use.
void unbind() {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (std::size_t core = 0; core < CPU_SETSIZE; ++core) CPU_SET(core, &all);
  ::sched_setaffinity(0, sizeof(all), &all);
}

}  // namespace

Placement place_ranks(Communicator& comm) {
  if (bound_without_being_asked()) unbind();
  Place here{};
  ::gethostname(here.host.data(), here.host.size() - 1);
  ::sched_getaffinity(0, sizeof(here.cores), &here.cores);
  if (comm.device().is_cuda()) here.gpu = gpu_properties(comm.device().index()).id;

  const at::Tensor mine = at::empty({1, sizeof(Place)}, at::kByte);
  std::memcpy(mine.mutable_data_ptr(), &here, sizeof(Place));
  const at::Tensor all = comm.all_gather(mine).wait();
  Placement placement{.local_world = 0};
  std::set<std::string> hosts;
  cpu_set_t cores = here.cores;
  for (int rank = 0; rank < comm.world(); ++rank) {
    Place other{};
    std::memcpy(&other, all[rank].const_data_ptr(), sizeof(Place));
    hosts.insert(other.host.data());
    if (here.gpu != GpuId{} && other.gpu == here.gpu) ++placement.ranks_on_gpu;
    if (other.host != here.host) continue;
    if (rank < comm.rank()) ++placement.local_rank;
    ++placement.local_world;
    CPU_OR(&cores, &cores, &other.cores);
  }
  placement.machines = static_cast<int>(hosts.size());
  placement.cores = CPU_COUNT(&cores);
  return placement;
}

void set_threads(std::int64_t threads, const Placement& placement) {
  if (threads > 0) {
    at::set_num_threads(static_cast<int>(threads));
  } else if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    at::set_num_threads(placement.threads());
  }
}

}  // namespace pfc
