#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace pfc {

/// How this process was started beside others, read from the environment that launchers leave.
struct Launch {
  enum class Way {
    kAlone,
    kMpi,         ///< mpirun, or srun with PMIx
    kRendezvous,  ///< torchrun --no-python, or srun without PMIx: ranks meet at an address
  };

  Way way = Way::kAlone;
  int rank = 0, world = 1;
  int local_rank = 0, local_world = 1;  ///< among the ranks of this machine

  // Of kRendezvous: where ranks find each other.
  std::string address = {};
  int port = 0;
  bool is_served = false;  ///< by the launcher; else rank 0 serves
  int attempt = 0;         ///< how often the launcher has started the ranks anew
};

/// `variable` gives an environment variable or a null pointer. Throws Error where a launcher's
/// variables are not numbers or do not fit each other.
Launch find_launch(const std::function<const char*(const char*)>& variable);
/// The same from this process's environment.
Launch find_launch();

class Communicator;

enum class UseGpus {
  kNever,
  kWhereThereAre,  ///< where every rank has one of its own; else all work on CPUs
  kAlways,
};

/// As `train.device` says it: "cpu", "auto" or "cuda".
UseGpus use_gpus(std::string_view device);

/// A GPU's UUID, which no other has on whichever machine; zeros: none.
using GpuId = std::array<char, 16>;

/// How many ranks have a GPU that no rank before them has, `ids` being those of all ranks.
/// Collectives of two ranks on one GPU would wait for each other without end.
int ranks_with_own_gpu(std::span<const GpuId> ids);

/// Whether `world` ranks work on GPUs, `with_gpu` of which have one of their own. Throws Error
/// where they should and cannot.
bool decide_on_gpus(UseGpus use, int with_gpu, int world);

/// How long a rank waits for the others where nobody says otherwise.
inline constexpr std::chrono::minutes kUsualTimeout{10};

/// Meets the other ranks, each on a GPU of its own (gpu_of), or all on CPUs: the communicator's
/// device. Collectives that a rank does not join within `timeout` throw Error. Call it once.
std::unique_ptr<Communicator> join_ranks(const Launch& launch, UseGpus use,
                                         std::chrono::seconds timeout = kUsualTimeout);

/// Ends the other ranks too, at once, and this process with `status`.
[[noreturn]] void end_all_ranks(int status);

}  // namespace pfc
