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
  kWhereThereAre,  ///< if every rank finds one; otherwise all ranks work on CPUs
  kAlways,
};

template <>
struct Names<UseGpus> {
  static constexpr auto kAll = named_values<UseGpus>(
      {{UseGpus::kWhereThereAre, "auto"}, {UseGpus::kNever, "cpu"}, {UseGpus::kAlways, "cuda"}});
};

/// A GPU's UUID, unique over all machines; zeros: no GPU.
using GpuId = std::array<char, 16>;

/// What GPUs the ranks have found.
struct FoundGpus {
  int ranks = 0;  ///< that have found one
  int gpus = 0;   ///< fewer, if ranks share some
};
/// `ids` are those of all ranks.
FoundGpus count_gpus(std::span<const GpuId> ids);

/// Whether `world` ranks work on GPUs, if `with_gpu` of them have found one. Throws Error if they
/// should and cannot.
bool decide_on_gpus(UseGpus use, int with_gpu, int world);

}  // namespace pfc
