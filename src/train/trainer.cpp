#include "pfc/train/trainer.h"

#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <thread>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/base/progress.h"
#include "pfc/data/dataset.h"
#include "pfc/data/loader.h"
#include "pfc/data/verification_set.h"
#include "pfc/eval/embedder.h"
#include "pfc/eval/roc_svg.h"
#include "pfc/eval/verification.h"
#include "pfc/head/head_memory.h"
#include "pfc/model/backbone.h"
#include "pfc/train/metrics.h"
#include "pfc/train/schedule.h"
#include "pfc/train/train_step.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

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

Margin margin_of(const Config::Head& head) {
  if (head.margin == "cosface") return Margin::cosface(head.m);
  if (head.margin == "arcface") {
    const bool exact = head.arcface_gradient == "exact";
    return Margin::arcface(head.m, exact ? Margin::Slope::kExact : Margin::Slope::kStraightThrough);
  }
  return Margin::combined(head.m1, head.m2, head.m3);
}

CenterTableOptions table_options(const Config& config) {
  using Optimizer = CenterOptimizer;
  return {.dim = config.model.embedding_size,
          .optimizer = {.kind = config.optimizer.kind == "adamw" ? Optimizer::Kind::kAdamW
                                                                 : Optimizer::Kind::kSgd,
                        .momentum = config.optimizer.momentum,
                        .weight_decay = config.optimizer.weight_decay,
                        .rule = config.head.update == "dense_equivalent"
                                    ? Optimizer::Rule::kDenseEquivalent
                                    : Optimizer::Rule::kSampled},
          .weights = number_type(config.head.center_type),
          .state = number_type(config.head.state_type),
          .seed = config.train.seed};
}

PartialFcOptions head_options(const Config& config) {
  return {.table = table_options(config),
          .margin = margin_of(config.head),
          .scale = config.head.scale,
          .interclass_filter = config.head.interclass_filter,
          .workspace_bytes = config.head.workspace_mb << 20};
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const Config& config,
                                                        std::vector<at::Tensor> parameters) {
  if (config.optimizer.kind == "adamw") {
    return std::make_unique<torch::optim::AdamW>(
        std::move(parameters),
        torch::optim::AdamWOptions(config.schedule.lr).weight_decay(config.optimizer.weight_decay));
  }
  return std::make_unique<torch::optim::SGD>(std::move(parameters),
                                             torch::optim::SGDOptions(config.schedule.lr)
                                                 .momentum(config.optimizer.momentum)
                                                 .weight_decay(config.optimizer.weight_decay));
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

int worker_threads(const Config& config) {
  if (config.data.workers > 0) return static_cast<int>(config.data.workers);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(cores / 2, 1, 8);
}

/// The verification sets, and what the best result on the first of them was.
class Evaluation {
 public:
  explicit Evaluation(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) sets_.push_back(VerificationSet::open(path));
  }

  /// Evaluates on every set; true where the first one's accuracy is the best so far.
  bool run(Backbone& backbone, std::int64_t step, MetricsLog& metrics, ProgressLine& progress) {
    results_.clear();
    for (const VerificationSet& set : sets_) {
      const auto show = [&](std::int64_t done, std::int64_t total) {
        progress.show(step, "evaluating on " + set.name() + ": " + grouped(done) + " of " +
                                grouped(total) + " images");
      };
      results_.push_back(verify(embed_pairs(backbone, set, {.progress = show})));
      const VerificationResult& result = results_.back();
      metrics.write(step, result);
      progress.note(format("step %lld  %s: accuracy %.2f%% ± %.2f, TAR %.2f%% at FAR 1e-2",
                           static_cast<long long>(step), result.set.c_str(), 100 * result.accuracy,
                           100 * result.accuracy_deviation, 100 * result.roc.at(1e-2).tar));
    }
    const bool better = !results_.empty() && results_.front().accuracy > best_;
    if (better) best_ = results_.front().accuracy;
    return better;
  }

  /// The ROC curves of the last run.
  void write_roc(const fs::path& path) const {
    std::vector<RocCurve> curves;
    for (const VerificationResult& result : results_) curves.push_back({result.set, result.roc});
    if (!curves.empty()) write_file(path, roc_svg("Verification", curves));
  }

 private:
  std::vector<VerificationSet> sets_;
  std::vector<VerificationResult> results_;
  double best_ = -1;
};

/// Means over the steps since the last report.
class Meter {
 public:
  void add(const StepResult& result, std::int64_t images) {
    loss_ += result.loss;
    images_ += images;
    ++steps_;
  }

  TrainMetrics report(double seconds_waited) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    TrainMetrics metrics;
    metrics.loss = loss_ / static_cast<double>(steps_);
    metrics.images_per_second = static_cast<double>(images_) / seconds;
    metrics.data_wait = (seconds_waited - waited_) / seconds;
    *this = Meter();
    waited_ = seconds_waited;
    return metrics;
  }

  /// Leaves out what is not training: evaluation, saving.
  void exclude(Clock::duration time) { start_ += time; }

 private:
  Clock::time_point start_ = Clock::now();
  double loss_ = 0, waited_ = 0;
  std::int64_t images_ = 0, steps_ = 0;
};

std::string progress_text(const TrainMetrics& metrics, std::int64_t steps) {
  return format("step %lld/%lld  epoch %.2f  loss %.3f  lr %.4g  %.0f images/s  data wait %.1f%%",
                static_cast<long long>(metrics.step), static_cast<long long>(steps), metrics.epoch,
                metrics.loss, metrics.lr, metrics.images_per_second, 100 * metrics.data_wait);
}

void save_last(const Config& config, const Backbone& backbone, PartialFc& head) {
  const fs::path output = config.output;
  save_backbone(backbone, config.model.network, config.model.embedding_size,
                output / "last.safetensors");
  save_centers(head.table(), output / "centers.safetensors");
}

}  // namespace

void train(const Config& config, Communicator& comm) {
  const fs::path output = config.output;
  if (config.data.train.empty()) {
    throw Error("data.train is not set: name a train.rec or a folder of one folder an identity");
  }
  if (config.train.threads > 0) torch::set_num_threads(static_cast<int>(config.train.threads));
  prepare_output(output);
  Evaluation evaluation(config.eval.sets);

  const auto dataset = open_dataset({.path = config.data.train,
                                     .cache_dir = config.data.cache_dir,
                                     .min_images = static_cast<int>(config.data.min_images)});
  log_dataset(*dataset);
  const ClassShard shard(dataset->identities(), comm.rank(), comm.world());
  const ClassSampler sampler({.sample_rate = config.head.sample_rate,
                              .sampling = sampling_from_name(config.head.sampling),
                              .seed = config.train.seed},
                             shard);
  log_head(config, sampler);
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
  require_head_memory(head_options(config), shard,
                      {.rows = sampler.most_rows(config.train.batch_size),
                       .samples = config.train.batch_size / config.train.micro_batches,
                       .accumulates = config.train.micro_batches > 1,
                       .threads = at::get_num_threads()},
                      available_memory());
  PartialFc head(head_options(config), shard);
  const auto optimizer = make_optimizer(config, backbone->parameters());
  Training training{*backbone, head, *optimizer, comm, config.optimizer.clip_norm};
  write_file(output / "config.toml", to_toml(config));
  MetricsLog metrics(output);

  Loader loader(*dataset, [&](std::int64_t step) { return planner.at(step); }, 0, comm.rank(),
                comm.world(),
                {.threads = worker_threads(config),
                 .prefetch = static_cast<int>(config.data.prefetch),
                 .most_corrupt_share = config.data.max_corrupt_share});
  ProgressLine progress(steps);
  Meter meter;
  backbone->train();
  for (std::int64_t step = 0; step < steps; ++step) {
    auto [plan, batch] = loader.next();
    for (const std::string& problem : batch.corrupt)
      progress.note("corrupt image, left out: " + problem);
    const double lr = learning_rate.at(step);
    const StepResult result = train_step(plan, batch, lr, training);
    loader.recycle(std::move(batch));
    meter.add(result, config.train.batch_size);

    const std::int64_t done = step + 1;
    if (done % config.log.every == 0 || done == steps) {
      TrainMetrics report = meter.report(loader.seconds_waited());
      report.step = done;
      report.epoch = static_cast<double>(done * config.train.batch_size) /
                     static_cast<double>(dataset->size());
      report.lr = lr;
      report.gradient_norm = result.gradient_norm;
      report.corrupt = loader.corrupt();
      metrics.write(report);
      progress.show(done, progress_text(report, steps));
    }
    if (done == steps || (config.eval.every > 0 && done % config.eval.every == 0)) {
      const auto start = Clock::now();
      const bool best = evaluation.run(*backbone, done, metrics, progress);
      save_last(config, *backbone, head);
      if (best) {
        save_backbone(*backbone, config.model.network, config.model.embedding_size,
                      output / "best.safetensors");
      }
      meter.exclude(Clock::now() - start);
    }
  }
  evaluation.write_roc(output / "roc.svg");
  progress.note("the network is " + (output / "last.safetensors").string() +
                "; everything else lies beside it");
}

}  // namespace pfc
