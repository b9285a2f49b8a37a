#include "train/from_config.h"

#include <algorithm>
#include <utility>

#include "pfc/head/head_memory.h"
#include "pfc/model/network.h"
#include "train/device.h"
#include "train/starting_point.h"

namespace pfc {
namespace {

CenterTableOptions table_options(const Config& config, at::Device device) {
  return {.dim = config.model.embedding_size,
          .optimizer = {.kind = config.optimizer.kind,
                        .momentum = config.optimizer.momentum,
                        .weight_decay = config.optimizer.weight_decay,
                        .update = config.head.update},
          .weights = config.head.center_type,
          .state = config.head.state_type,
          .seed = config.train.seed,
          .device = device,
          .in_host_memory = device.is_cuda() && config.head.center_memory == CenterMemory::kHost};
}

}  // namespace

PartialFcOptions head_options(const Config& config, at::Device device) {
  return {.table = table_options(config, device),
          .loss = config.head.loss(),
          .scale = config.head.scale,
          .interclass_filter = config.head.interclass_filter,
          .workspace_bytes = config.head.workspace_mb << 20,
          .gemm = config.head.gemm_type};
}

std::unique_ptr<BackboneOptimizer> make_optimizer(const Config& config, const Backbone& backbone) {
  return make_backbone_optimizer(
      name_of(config.optimizer.kind), backbone.named_parameters(),
      {.momentum = config.optimizer.momentum, .weight_decay = config.optimizer.weight_decay});
}

StepPlannerOptions planner_options(const Config& config) {
  return {.seed = config.train.seed,
          .batch_size = config.train.batch_size,
          .micro_batches = config.train.micro_batches,
          .mirror = config.data.mirror,
          .window = config.data.shuffle_window};
}

LoaderOptions loader_options(const Config& config, const Placement& place) {
  const auto workers = static_cast<int>(config.data.workers);
  return {.threads = workers > 0 ? workers : std::clamp(place.threads() / 2, 1, 8),
          .prefetch = static_cast<int>(config.data.prefetch),
          .most_corrupt_share = config.data.max_corrupt_share,
          .resize = config.data.resize,
          .augmenter = Augmenter(config.data.augment, config.augment, config.train.seed)};
}

NamedValues network_options(const Config::Model& model) {
  NamedValues options = model.options;
  if (model.lora_rank > 0) options.insert_or_assign(std::string(kLoraRank), model.lora_rank);
  return options;
}

std::shared_ptr<Backbone> make_network(const Config& config, at::Device device, bool is_resumed,
                                       Communicator& comm) {
  auto backbone = make_backbone(config.model.network, config.model.embedding_size,
                                config.train.seed, network_options(config.model));
  if (config.model.sync_bn) synchronise_batch_norm(*backbone, comm);
  move_to(device, *backbone);
  backbone->freeze(config.model.freeze);
  if (!is_resumed) start_network(config, *backbone, comm);
  return backbone;
}

PartialFc make_head(const Config& config, at::Device device, const ClassSampler& sampler,
                    const Placement& place, Communicator& comm) {
  const PartialFcOptions options = head_options(config, device);
  const FreeMemory free = free_memory(device, place);
  // Every rate has to fit before the first step, the largest for its rows. A smaller one may keep
  // probabilities for which a larger one has no room.
  for (const auto& [from, rate] : config.head.sample_rate.pieces()) {
    require_head_memory(options, sampler.shard(),
                        {.rows = sampler.most_rows(config.train.batch_size, from),
                         .samples = config.train.batch_size / config.train.micro_batches,
                         .accumulates = config.train.micro_batches > 1,
                         .threads = tiles_at_once(device)},
                        free);
  }
  comm.barrier();  // all ranks must have read the free memory before one takes some
  return PartialFc(options, sampler.shard());
}

}  // namespace pfc
