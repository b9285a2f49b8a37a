#include "pfc/train/trainer.h"

#include <torch/utils.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/base/progress.h"
#include "pfc/comm/placement.h"
#include "pfc/data/dataset.h"
#include "pfc/data/loader.h"
#include "pfc/head/head_memory.h"
#include "pfc/model/backbone.h"
#include "pfc/train/metrics.h"
#include "pfc/train/schedule.h"
#include "pfc/train/train_step.h"
#include "train/evaluation.h"
#include "train/from_config.h"
#include "train/meter.h"
#include "train/same_data.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// Refuses to write over a finished run: its model may be days of work.
void prepare_output(const fs::path& output) {
  for (const char* name : {"best.safetensors", "last.safetensors"}) {
    if (fs::exists(output / name)) {
      throw Error(output.string() + ": holds an earlier run (" + name +
                  "); remove it, or name another folder with --set output=FOLDER");
    }
  }
  std::error_code error;
  fs::create_directories(output, error);
  if (error) throw Error(output.string() + ": cannot be created: " + error.message());
}

void log_dataset(const Dataset& dataset) {
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

void log_head(const Config& config, const ClassSampler& sampler) {
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

void log_ranks(const Placement& place, Communicator& comm) {
  if (comm.world() == 1) return;
  std::fprintf(stderr, "ranks: %d on %d %s, %d threads each\n", comm.world(), place.machines,
               place.machines > 1 ? "machines" : "machine", torch::get_num_threads());
}

int worker_threads(const Config& config, const Placement& place) {
  if (config.data.workers > 0) return static_cast<int>(config.data.workers);
  return std::clamp(place.threads() / 2, 1, 8);
}

/// One rank of a machine opens it first: it may have to write the index cache.
std::unique_ptr<Dataset> open_on_all_ranks(const Config& config, const Placement& place,
                                           Communicator& comm) {
  const DatasetOptions options{.path = config.data.train,
                               .cache_dir = config.data.cache_dir,
                               .min_images = static_cast<int>(config.data.min_images)};
  std::unique_ptr<Dataset> dataset;
  if (place.local_rank == 0) dataset = open_dataset(options);
  comm.barrier();
  if (place.local_rank != 0) dataset = open_dataset(options);
  require_same_data(*dataset, comm);
  return dataset;
}

std::string progress_text(const TrainMetrics& metrics, std::int64_t steps) {
  return format("step %lld/%lld  epoch %.2f  loss %.3f  lr %.4g  %.0f images/s  data wait %.1f%%",
                static_cast<long long>(metrics.step), static_cast<long long>(steps), metrics.epoch,
                metrics.loss, metrics.lr, metrics.images_per_second, 100 * metrics.data_wait);
}

/// Ranks make their networks from one seed; where their machines differ, so may the last bits.
void start_alike(Backbone& backbone, Communicator& comm) {
  const torch::NoGradGuard no_grad;
  for (at::Tensor& parameter : backbone.parameters()) comm.broadcast(parameter).wait();
  for (at::Tensor& buffer : backbone.buffers()) comm.broadcast(buffer).wait();
}

/// Images that another machine's ranks could not decode: every machine has its list, and all must
/// start with the same set.
void exclude(Dataset& dataset, const StepPlan& plan, const StepResult& result) {
  for (const std::int64_t place : result.without_image)
    dataset.exclude(plan.images[static_cast<std::size_t>(place)], "did not decode on a rank");
}

void save(const Config& config, const Backbone& backbone, const char* name) {
  save_backbone(backbone, config.model.network, config.model.embedding_size,
                fs::path(config.output) / name);
}

/// `centers.safetensors`, or a file a rank.
std::string centers_name(const Communicator& comm) {
  if (comm.world() == 1) return "centers.safetensors";
  return format("centers-%05d-of-%05d.safetensors", comm.rank() + 1, comm.world());
}

}  // namespace

void train(const Config& config, Communicator& comm) {
  const fs::path output = config.output;
  if (config.data.train.empty()) {
    throw Error("data.train is not set: name a train.rec or a folder of one folder an identity");
  }
  const Placement place = place_ranks(comm);
  set_threads(config.train.threads, place);
  if (comm.is_first()) prepare_output(output);
  Evaluation evaluation(config.eval.sets);

  const auto dataset = open_on_all_ranks(config, place, comm);
  const ClassShard shard(dataset->identities(), comm.rank(), comm.world());
  const ClassSampler sampler({.sample_rate = config.head.sample_rate,
                              .sampling = sampling_from_name(config.head.sampling),
                              .seed = config.train.seed},
                             shard);
  if (comm.is_first()) {
    log_ranks(place, comm);
    log_dataset(*dataset);
    log_head(config, sampler);
  }
  const StepPlanner planner({.seed = config.train.seed,
                             .batch_size = config.train.batch_size,
                             .micro_batches = config.train.micro_batches,
                             .mirror = config.data.mirror},
                            dataset->labels(), sampler);
  const std::int64_t steps =
      config.train.steps > 0 ? config.train.steps : planner.steps_in(config.train.epochs);
  const LearningRate learning_rate(config.schedule, steps);

  const auto backbone =
      make_backbone(config.model.network, config.model.embedding_size, config.train.seed);
  if (config.model.sync_bn) synchronise_batch_norm(*backbone, comm);
  require_head_memory(head_options(config), shard,
                      {.rows = sampler.most_rows(config.train.batch_size),
                       .samples = config.train.batch_size / config.train.micro_batches,
                       .accumulates = config.train.micro_batches > 1,
                       .threads = at::get_num_threads()},
                      available_memory() / place.local_world);
  comm.barrier();  // all have asked for what is free before one takes of it
  PartialFc head(head_options(config), shard);
  GradientBuckets gradients(backbone->parameters(), comm);
  const auto optimizer = make_optimizer(config, backbone->parameters());
  Training training{*backbone,
                    head,
                    gradients,
                    *optimizer,
                    comm,
                    config.optimizer.clip_norm,
                    number_type(config.head.gather_type)};
  start_alike(*backbone, comm);

  std::optional<MetricsLog> metrics;  // the first rank's
  if (comm.is_first()) {
    write_file(output / "config.toml", to_toml(config));
    metrics.emplace(output);
  } else {
    fs::create_directories(output);  // on a machine of its own
  }
  Loader loader(*dataset, [&](std::int64_t step) { return planner.at(step); }, 0, comm.rank(),
                comm.world(),
                {.threads = worker_threads(config, place),
                 .prefetch = static_cast<int>(config.data.prefetch),
                 .most_corrupt_share = config.data.max_corrupt_share});
  ProgressLine progress(steps, 0, !comm.is_first());
  Meter meter;
  TrafficMeter traffic;
  std::int64_t corrupt = 0;
  backbone->train();
  for (std::int64_t step = 0; step < steps; ++step) {
    auto [plan, batch] = loader.next();
    for (const std::string& problem : batch.corrupt)
      progress.note("corrupt image, left out: " + problem);
    const double lr = learning_rate.at(step);
    const TrafficByCollective before = comm.traffic();
    const StepResult result = train_step(plan, batch, lr, training);
    traffic.add(before, comm.traffic());
    loader.recycle(std::move(batch));
    meter.add(result, config.train.batch_size);
    corrupt += std::ssize(result.without_image);
    if (place.local_rank == 0) exclude(*dataset, plan, result);

    const std::int64_t done = step + 1;
    if (metrics && (done % config.log.every == 0 || done == steps)) {
      TrainMetrics report = meter.report(loader.seconds_waited());
      report.step = done;
      report.epoch = static_cast<double>(done * config.train.batch_size) /
                     static_cast<double>(dataset->size());
      report.lr = lr;
      report.gradient_norm = result.gradient_norm;
      report.corrupt = corrupt;
      metrics->write(report);
      progress.show(done, progress_text(report, steps));
    }
    if (done == steps || (config.eval.every > 0 && done % config.eval.every == 0)) {
      const auto start = Meter::Clock::now();
      for (const VerificationResult& found : evaluation.run(*backbone, done, progress, comm))
        metrics->write(done, found);
      if (comm.is_first()) save(config, *backbone, "last.safetensors");
      if (evaluation.is_best()) save(config, *backbone, "best.safetensors");
      save_centers(head.table(), output / centers_name(comm));
      meter.exclude(Meter::Clock::now() - start);
    }
  }
  comm.barrier();  // every rank's files are there
  if (!comm.is_first()) return;
  evaluation.write_roc(output / "roc.svg");
  if (comm.world() > 1) progress.note(traffic.text());
  progress.note("the network is " + (output / "last.safetensors").string() +
                "; everything else lies beside it");
}

}  // namespace pfc
