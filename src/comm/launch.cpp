#include "pfc/comm/launch.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <set>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using Variable = std::function<const char*(const char*)>;

int number(const Variable& variable, const char* name) {
  const char* const text = variable(name);
  if (text == nullptr) throw Error("environment: " + std::string(name) + " is not set");
  int value = 0;
  const char* const end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stop != end || value < 0) {
    throw Error("environment: " + std::string(name) + " is \"" + text + "\", want a number");
  }
  return value;
}

/// "gpu[03-06,9],other" -> "gpu03"
std::string first_host(const std::string& list) {
  const std::size_t bracket = list.find('[');
  if (list.find(',') < bracket) return list.substr(0, list.find(','));
  if (bracket == list.npos) return list;
  const std::size_t end = list.find_first_of(",-]", bracket);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

void check(const Launch& launch) {
  const auto refuse = [](const char* what, int rank, int world) {
    throw Error("environment: " + std::string(what) + " " + std::to_string(rank) + " of " +
                std::to_string(world));
  };
  if (launch.rank >= launch.world) refuse("rank", launch.rank, launch.world);
  if (launch.local_rank >= launch.local_world)
    refuse("local rank", launch.local_rank, launch.local_world);
  if (launch.way != Launch::Way::kRendezvous || launch.world == 1) return;
  if (launch.address.empty())
    throw Error("environment: MASTER_ADDR does not name the machine where the ranks meet");
  constexpr int kPorts = 65536;
  if (launch.port == 0 || launch.port >= kPorts) {
    throw Error("environment: MASTER_PORT is " + std::to_string(launch.port) +
                ", want a port from 1 to " + std::to_string(kPorts - 1));
  }
}

}  // namespace

Launch find_launch(const Variable& variable) {
  const auto set = [&](const char* name) { return variable(name) != nullptr; };
  const auto number_or = [&](const char* name, int otherwise) {
    return set(name) ? number(variable, name) : otherwise;
  };
  Launch launch;
  if (set("OMPI_COMM_WORLD_SIZE") && set("TORCHELASTIC_RUN_ID")) {
    throw Error(
        "environment: this process was started by mpirun and by torchrun (OMPI_COMM_WORLD_SIZE and "
        "TORCHELASTIC_RUN_ID are both set): start the ranks with one of them");
  }
  if (set("OMPI_COMM_WORLD_SIZE")) {
    launch.way = Launch::Way::kMpi;
    launch.rank = number(variable, "OMPI_COMM_WORLD_RANK");
    launch.world = number(variable, "OMPI_COMM_WORLD_SIZE");
    launch.local_rank = number(variable, "OMPI_COMM_WORLD_LOCAL_RANK");
    launch.local_world = number(variable, "OMPI_COMM_WORLD_LOCAL_SIZE");
  } else if (set("TORCHELASTIC_RUN_ID") ||
             (set("RANK") && set("WORLD_SIZE") && set("MASTER_ADDR") && set("MASTER_PORT"))) {
    launch.way = Launch::Way::kRendezvous;
    launch.rank = number(variable, "RANK");
    launch.world = number(variable, "WORLD_SIZE");
    launch.local_rank = number_or("LOCAL_RANK", 0);
    launch.local_world = number_or("LOCAL_WORLD_SIZE", launch.local_rank + 1);
    launch.address = set("MASTER_ADDR") ? variable("MASTER_ADDR") : "";
    launch.port = number(variable, "MASTER_PORT");
    launch.is_served = set("TORCHELASTIC_USE_AGENT_STORE") &&
                       variable("TORCHELASTIC_USE_AGENT_STORE") == std::string("True");
    launch.attempt = number_or("TORCHELASTIC_RESTART_COUNT", 0);
  } else if (set("SLURM_STEP_NUM_TASKS")) {  // an sbatch script itself is not a task of a step
    launch.way = set("PMIX_RANK") ? Launch::Way::kMpi : Launch::Way::kRendezvous;
    launch.rank = number(variable, "SLURM_PROCID");
    launch.world = number(variable, "SLURM_STEP_NUM_TASKS");
    launch.local_rank = number(variable, "SLURM_LOCALID");
    // "4(x2),3" lists the ranks of each machine. Here it only matters whether this machine has
    // others.
    const char* const tasks = variable("SLURM_STEP_TASKS_PER_NODE");
    launch.local_world = std::max(launch.local_rank + 1, tasks == nullptr ? 1 : std::atoi(tasks));
    if (set("MASTER_ADDR")) {
      launch.address = variable("MASTER_ADDR");
    } else if (set("SLURM_STEP_NODELIST")) {
      launch.address = first_host(variable("SLURM_STEP_NODELIST"));
    }
    constexpr int kFirstPort = 20000,
                  kPorts = 10000;  // a port for each job, so that jobs do not meet
    launch.port = set("MASTER_PORT") ? number(variable, "MASTER_PORT")
                                     : kFirstPort + number(variable, "SLURM_JOB_ID") % kPorts;
  }
  check(launch);
  // A single process has nobody to meet, and needs no GPU for meeting.
  if (launch.way == Launch::Way::kRendezvous && launch.world == 1) launch.way = Launch::Way::kAlone;
  return launch;
}

Launch find_launch() {
  return find_launch([](const char* name) -> const char* { return std::getenv(name); });
}

FoundGpus count_gpus(std::span<const GpuId> ids) {
  std::multiset<GpuId> found(ids.begin(), ids.end());
  found.erase(GpuId{});
  const std::set<GpuId> different(found.begin(), found.end());
  return {.ranks = static_cast<int>(found.size()), .gpus = static_cast<int>(different.size())};
}

bool decide_on_gpus(UseGpus use, int with_gpu, int world) {
  if (use == UseGpus::kNever) return false;
  if (with_gpu == world) return true;
  if (use == UseGpus::kWhereThereAre) return false;
  if (world == 1) {
    throw Error(
        "a GPU was asked for, and no GPU was found: there is none, its driver is missing, or this "
        "program was built without CUDA");
  }
  throw Error(
      "GPUs were asked for, but " + std::to_string(world - with_gpu) + " of " +
      counted(world, "rank") +
      " found none: there is none on the machine, its driver is missing, or it is not shown to "
      "the rank (CUDA_VISIBLE_DEVICES)");
}

}  // namespace pfc
