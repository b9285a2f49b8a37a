#pragma once

#include <array>
#include <functional>
#include <span>
#include <string>

#include "pfc/base/names.h"

namespace pfc {

/// How this process was started together with others, read from the environment that launchers set.
struct Launch {
  enum class Way {
    kAlone,
    kMpi,         ///< mpirun, or srun with PMIx
    kRendezvous,  ///< torchrun, who sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as it does,
                  ///< or srun without PMIx: ranks meet at an address
  };

  Way way = Way::kAlone;
  int rank = 0, world = 1;
  int local_rank = 0, local_world = 1;  ///< among the ranks of this machine

  // For kRendezvous: where the ranks meet.
  std::string address = {};
  int port = 0;
  bool is_served = false;  ///< the launcher serves the address; otherwise rank 0 does
  int attempt = 0;         ///< how often the launcher has restarted the ranks
};

/// `variable` returns an environment variable or a null pointer. Throws Error if a launcher's
/// variables are not numbers or contradict each other.
Launch find_launch(const std::function<const char*(const char*)>& variable);
/// The same from this process's environment.
Launch find_launch();

enum class UseGpus {
  kNever,
  kWhereThereAre,  ///< if every rank has a GPU of its own; otherwise all ranks work on CPUs
  kAlways,
};

template <>
struct Names<UseGpus> {
  static constexpr auto kAll = named_values<UseGpus>(
      {{UseGpus::kWhereThereAre, "auto"}, {UseGpus::kNever, "cpu"}, {UseGpus::kAlways, "cuda"}});
};

/// A GPU's UUID, unique over all machines; zeros: no GPU.
using GpuId = std::array<char, 16>;

/// How many ranks have a GPU that no earlier rank has; `ids` are those of all ranks. Collectives of
/// two ranks on one GPU would wait for each other forever.
int ranks_with_own_gpu(std::span<const GpuId> ids);

/// Whether `world` ranks work on GPUs, if `with_gpu` of them have one of their own. Throws Error if
/// they should and cannot.
bool decide_on_gpus(UseGpus use, int with_gpu, int world);

}  // namespace pfc
