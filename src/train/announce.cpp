#include "train/announce.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "pfc/base/format.h"
#include "pfc/comm/gpus.h"

namespace pfc {

void announce_dataset(const Dataset& dataset) {
  const DatasetSummary& found = dataset.summary();
  std::string line = "data: " + grouped(dataset.size()) + " images of " +
                     grouped(dataset.identities()) + " identities";
  if (found.identities_dropped > 0) {
    line += "; dropped " + grouped(found.identities_dropped) + " identities with too few images (" +
            grouped(found.images_dropped) + " images)";
  }
  if (found.images_excluded > 0)
    line += "; left out " + grouped(found.images_excluded) + " that did not decode earlier";
  std::fprintf(stderr, "%s\n", line.c_str());
}

void announce_head(const Config& config, const ClassSampler& sampler) {
  const std::int64_t classes = sampler.shard().classes();
  std::fprintf(stderr, "head: %s of %s class centres a step (r = %g), %s\n",
               grouped(sampler.drawn()).c_str(), grouped(classes).c_str(), config.head.sample_rate,
               config.head.margin.c_str());
  if (sampler.drawn() < classes && sampler.drawn() < 2 * config.train.batch_size) {
    std::fprintf(stderr,
                 "note: a batch of %lld images holds up to %lld identities, so of %lld sampled "
                 "classes few or none are "
                 "left as negatives; raise head.sample_rate\n",
                 static_cast<long long>(config.train.batch_size),
                 static_cast<long long>(std::min(config.train.batch_size, classes)),
                 static_cast<long long>(sampler.drawn()));
  }
}

void announce_device(const Config& config, const ComputeOn& place, const Communicator& comm) {
  if (place.device.is_cuda()) {
    std::fprintf(stderr, "device: %s, the backbone in %s\n", gpu(place.device.index()).name.c_str(),
                 place.precision == at::kFloat  ? "float32"
                 : place.precision == at::kHalf ? "float16"
                                                : "bfloat16");
    return;
  }
  if (config.train.device != "auto") return;
  if (const int found = gpus(); found > 0) {
    std::fprintf(
        stderr, "device: the CPU; of %d ranks each would want a GPU of its own, %d %s found here\n",
        comm.world(), found, found == 1 ? "was" : "were");
  } else if (comm.world() == 1) {
    std::fprintf(stderr, "device: the CPU; no GPU was found\n");
  }
}

void announce_ranks(const Placement& place, const Communicator& comm) {
  if (comm.world() == 1) return;
  const int threads = torch::get_num_threads();
  std::fprintf(stderr, "ranks: %d on %d %s, %d %s each\n", comm.world(), place.machines,
               place.machines > 1 ? "machines" : "machine", threads,
               threads > 1 ? "threads" : "thread");
}

}  // namespace pfc
