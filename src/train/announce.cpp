#include "train/announce.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>

#include "head/kernels/row_rules.h"
#include "pfc/base/format.h"
#include "pfc/base/progress.h"
#include "pfc/comm/gpus.h"

namespace pfc {

void announce_dataset(const Config& config, const Dataset& dataset) {
  const DatasetSummary& found = dataset.summary();
  std::string line = "data: " + counted(dataset.size(), "image") + " of " +
                     counted(dataset.identities(), "identity");
  if (found.identities_dropped > 0) {
    line += "; dropped " + counted(found.identities_dropped, "identity") +
            " with too few images (" + counted(found.images_dropped, "image") + ")";
  }
  if (found.images_excluded > 0)
    line +=
        "; left out " + counted(found.images_excluded, "image") + " that did not decode earlier";
  if (!found.passed_over.empty()) line += "; passed over: " + found.passed_over;
  tell(line);
  if (dataset.size() == dataset.identities()) {
    tell(
        "note: every identity has only one image, so the network cannot learn what images of one "
        "person have in common");
  }
  if (config.train.batch_size > dataset.size()) {
    tell("note: a batch of " + counted(config.train.batch_size, "image") + " holds the set's " +
         grouped(dataset.size()) + " more than once");
  }
}

void announce_head(const Config& config, const ClassSampler& sampler) {
  const std::int64_t classes = sampler.shard().classes();
  std::int64_t fewest = classes;
  for (const auto& [from, rate] : config.head.sample_rate.pieces()) {
    const std::int64_t drawn = sampler.drawn(from);
    tell(std::string("head: ") + (from > 0 ? "from step " + grouped(from) + " on " : "") +
         grouped(drawn) + " of " + counted(classes, "class centre") +
         format(" a step (r = %g), ", rate) + config.head.margin);
    fewest = std::min(fewest, drawn);
  }
  if (fewest < classes && fewest < 2 * config.train.batch_size) {
    tell("note: a batch of " + counted(config.train.batch_size, "image") + " holds up to " +
         counted(std::min(config.train.batch_size, classes), "identity") + ", so of " +
         counted(fewest, "sampled class") +
         " few or none are left as negatives; raise head.sample_rate");
  }
}

void announce_room(const Config& config, const Backbone& backbone, const PartialFc& head,
                   std::int64_t identities) {
  std::int64_t network = 0;
  for (const at::Tensor& parameter : backbone.parameters())
    network += static_cast<std::int64_t>(parameter.nbytes());
  const std::int64_t copies = 1 + std::ssize(kernels::states_of(head.options().table.optimizer));
  const std::int64_t bytes = identities * bytes_a_row(head.options().table) + copies * network;
  std::error_code unknown;
  const auto room =
      static_cast<std::int64_t>(std::filesystem::space(config.output, unknown).available);
  if (unknown || bytes <= room) return;
  tell("note: a checkpoint takes " + size_text(bytes) + ", and there is room for " +
       size_text(room) + " in " + config.output);
}

void announce_network(const Config& config, const Backbone& backbone) {
  std::int64_t all = 0, training = 0;
  for (const at::Tensor& parameter : backbone.parameters()) {
    all += parameter.numel();
    if (parameter.requires_grad()) training += parameter.numel();
  }
  if (training == all) return;
  tell("network: " + config.model.network + ", " + grouped(training) + " of " +
       counted(all, "parameter") + " train");
}

void announce_device(const Config& config, const ComputeOn& place, const Communicator& comm) {
  if (place.device.is_cuda()) {
    tell("device: " + gpu_properties(place.device.index()).name + ", the backbone in " +
         (place.precision == at::kFloat  ? "float32"
          : place.precision == at::kHalf ? "float16"
                                         : "bfloat16"));
    return;
  }
  if (config.train.device != UseGpus::kWhereThereAre) return;
  if (const int found = gpus(); found > 0) {
    tell("device: the CPU; found here: " + counted(found, "GPU") +
         ", but not every rank has found one");
  } else if (comm.world() == 1) {
    tell("device: the CPU; no GPU was found");
  }
}

void announce_ranks(const Placement& place, const Communicator& comm) {
  if (comm.world() == 1) return;
  const int threads = torch::get_num_threads();
  tell("ranks: " + grouped(comm.world()) + " on " + counted(place.machines, "machine") + ", " +
       counted(threads, "thread") + " each");
}

}  // namespace pfc
