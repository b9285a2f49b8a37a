#include "pfc/train/trainer.h"

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "data/read_ahead.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/base/progress.h"
#include "pfc/comm/long_work.h"
#include "pfc/comm/placement.h"
#include "pfc/data/dataset.h"
#include "pfc/data/loader.h"
#include "pfc/model/backbone.h"
#include "pfc/model/network.h"
#include "pfc/train/checkpoint.h"
#include "pfc/train/metrics.h"
#include "pfc/train/schedule.h"
#include "pfc/train/train_step.h"
#include "train/announce.h"
#include "train/device.h"
#include "train/evaluation.h"
#include "train/from_config.h"
#include "train/meter.h"
#include "train/output_folder.h"
#include "train/same_data.h"
#include "train/same_run.h"
#include "train/save_or_stop.h"
#include "train/saved_networks.h"
#include "train/starting_point.h"
#include "train/training_set.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

Placement place_and_set_threads(const Config& config, Communicator& comm) {
  const Placement place = place_ranks(comm);
  set_threads(config.train.threads, place);
  return place;
}

Config configuration_in(const Manifest& manifest) {
  return parse_config(manifest.config, "the checkpoint's configuration", {});
}

std::optional<Manifest> newest_of(Checkpoints& checkpoints, const Config& config,
                                  const Communicator& comm) {
  std::optional<Manifest> manifest = checkpoints.newest();
  if (!manifest) {
    if (!comm.is_first()) return manifest;
    require_nothing_to_lose(config.output);
    tell("no checkpoint in " + config.output + " yet: training begins");
    return manifest;
  }
  require_same_run(config, configuration_in(*manifest));
  return manifest;
}

std::string first_of(const Config& config) {
  return config.eval.sets.empty() ? "" : config.eval.sets.front();
}

std::string progress_text(const TrainMetrics& metrics, std::int64_t steps) {
  return format("step %s/%s  epoch %.2f  loss %.3f  lr %.4g  %.0f images/s  data wait %.1f%%",
                grouped(metrics.step).c_str(), grouped(steps).c_str(), metrics.epoch, metrics.loss,
                metrics.lr, metrics.images_per_second, 100 * metrics.data_wait);
}

/// A run from its first step, or from a checkpoint, to its last. Possible errors are checked before
/// anything that takes long: the training set may have to be indexed, which can take hours.
class Run {
 public:
  Run(const Config& config, Communicator& comm, Start start)
      : config_(config),
        comm_(comm),
        folder_(config.output, start, comm),
        output_(folder_.path()),
        place_(place_and_set_threads(config, comm)),
        compute_on_(choose_device(config, comm)),
        evaluation_(config.eval.sets, comm),
        checkpoints_({.folder = checkpoints_in(output_),
                      .keep_last = config.checkpoint.keep_last,
                      .keep_every = config.checkpoint.keep_every},
                     comm, [](const auto& sentence) { tell(sentence); }),
        networks_(config.model, output_, comm),
        resumed_(start == Start::kResume ? newest_of(checkpoints_, config, comm) : std::nullopt),
        backbone_(make_network(config, compute_on_.device, resumed_.has_value(), comm)),
        dataset_(open_training_set(config, resumed_, place_, comm)),
        sampler_({.sample_rate = config.head.sample_rate,
                  .sampling = config.head.sampling,
                  .seed = config.train.seed},
                 ClassShard(dataset_->identities(), comm.rank(), comm.world())),
        planner_(planner_options(config), dataset_->labels(), sampler_),
        read_ahead_(*dataset_, planner_options(config)),
        steps_(config.train.steps > 0 ? config.train.steps
                                      : planner_.steps_in(config.train.epochs)),
        learning_rate_(config.schedule, steps_),
        head_(make_head(config, compute_on_.device, sampler_, place_, comm)),
        gradients_(backbone_->parameters(), comm),
        optimizer_(make_optimizer(config, *backbone_)),
        training_{*backbone_,
                  head_,
                  gradients_,
                  *optimizer_,
                  comm,
                  config.optimizer.clip_norm,
                  config.head.gather_type,
                  compute_on_.precision} {
    state_.add("corrupt", corrupt_, {.least = 0});
    evaluation_.add_to(state_);
    // A run that goes on with another loss starts with that loss's first numbers.
    const bool is_new = resumed_ && configuration_in(*resumed_).head.margin != config.head.margin;
    state_.add(config.head.margin, head_.moving_numbers(), {.is_optional = is_new});
    if (compute_on_.precision == at::kHalf) {
      training_.scaler = &scaler_.emplace(compute_on_.device);
      scaler_->add_to(state_);
    }
    if (comm.is_first()) {
      announce_ranks(place_, comm);
      announce_device(config, compute_on_, comm);
      announce_network(config, *backbone_);
      announce_dataset(config, *dataset_);
      announce_head(config, sampler_);
      announce_room(config, *backbone_, head_, dataset_->identities());
    }
    if (resumed_) {
      resume();
    } else {
      start_centers(config, *dataset_, *backbone_, head_.settled_table(), comm);
    }
    if (comm.is_first()) {
      write_file(output_ / "config.toml", to_toml(config));
      metrics_.emplace(output_, done());
    }
    loader_.emplace(
        *dataset_,
        [this](std::int64_t step) {
          read_ahead_.before(step);
          return planner_.at(step);
        },
        done(), comm.rank(), comm.world(), loader_options(config, place_));
  }

  void go() {
    save_or_stop_.emplace(config_.checkpoint, steps_, comm_);
    ProgressLine progress(steps_, done(), !comm_.is_first());
    backbone_->train();
    if (resumed_ && evaluation_is_due()) evaluate(progress);  // it was due after the checkpoint
    while (done() < steps_) {
      step(progress);
      const auto [is_to_save, is_to_stop] = save_or_stop_->after(done());
      if (is_to_save) save(progress);
      if (is_to_stop && done() < steps_) return stop_early(progress);
      if (evaluation_is_due()) evaluate(progress);
    }
    finish(progress);
  }

 private:
  std::int64_t done() const { return state_.step; }

  /// What checkpoints keep.
  TrainState saved_state() {
    return {state_, *backbone_, *optimizer_, head_.settled_table(), dataset_->class_identities()};
  }

  void resume() {
    resumed_ = checkpoints_.restore(saved_state());  // it may be an older one than the newest
    require_same_data(*dataset_, *resumed_);
    const Config before = configuration_in(*resumed_);
    const std::vector<std::string> changes = require_same_run(config_, before);
    saved_ = done();
    if (done() > steps_) {
      throw Error("the checkpoint is of step " + grouped(done()) + ", but this run ends after " +
                  counted(steps_, "step") + ": raise train.steps or train.epochs");
    }
    if (evaluation_.drop_best_of_another_set(first_of(before) == first_of(config_)))
      networks_.set_best_aside(done());
    if (!comm_.is_first()) return;
    for (const std::string& change : changes) tell("changed since: " + change);
    tell("resumed after step " + grouped(done()) + ", which " + counted(resumed_->world, "rank") +
         " saved");
  }

  void step(ProgressLine& progress) {
    auto [plan, batch] = loader_->next();
    for (const std::string& problem : batch.corrupt)
      progress.note("corrupt image, left out: " + problem);
    note_sample_rate(progress);
    const double lr = learning_rate_.at(done());
    const TrafficByCollective before = comm_.traffic();
    PendingStep made = train_step(plan, batch, lr, training_);
    traffic_.add(before, comm_.traffic());
    loader_->recycle(std::move(batch));
    if (head_.options().table.in_host_memory && done() + 1 < steps_)
      head_.prefetch(planner_.at(done() + 1).classes);
    settle(progress);
    unsettled_.emplace(Unsettled{std::move(made), std::move(plan), lr});
    ++state_.step;
    // The GPU works on it while the host prepares the next step.
    if (!unsettled_->made.is_pending() || done() == steps_) settle(progress);
  }

  /// Says where the rate changes.
  void note_sample_rate(ProgressLine& progress) const {
    const StepwiseNumber& rate = config_.head.sample_rate;
    if (done() == 0 || !comm_.is_first() || rate.at(done()) == rate.at(done() - 1)) return;
    progress.note(format("step %s  sample rate %g, was %g", grouped(done()).c_str(),
                         rate.at(done()), rate.at(done() - 1)));
  }

  /// Reads the result of the last step.
  void settle(ProgressLine& progress) {
    if (!unsettled_) return;
    auto [made, plan, lr] = std::move(*unsettled_);
    unsettled_.reset();
    const StepResult result = made.wait();
    require_finite(result, plan, lr, training_);
    meter_.add(result, config_.train.batch_size);
    for (const std::int64_t place : result.without_image)
      corrupt_ += broken_.insert(plan.images[static_cast<std::size_t>(place)]).second ? 1 : 0;
    if (place_.local_rank == 0) exclude(plan, result);
    const std::int64_t step = plan.step + 1;
    if (metrics_ && (step % config_.log.every == 0 || step == steps_))
      report(step, result, lr, progress);
  }

  /// Excludes images that another machine's ranks could not decode: every machine has its own list,
  /// and all must start with the same set.
  void exclude(const StepPlan& plan, const StepResult& result) {
    for (const std::int64_t place : result.without_image)
      dataset_->exclude(plan.images[static_cast<std::size_t>(place)], "did not decode on a rank");
  }

  void report(std::int64_t step, const StepResult& result, double lr, ProgressLine& progress) {
    TrainMetrics report = meter_.report(loader_->seconds_waited());
    report.step = step;
    report.epoch = static_cast<double>(step * config_.train.batch_size) /
                   static_cast<double>(dataset_->size());
    report.lr = lr;
    report.sample_rate = config_.head.sample_rate.at(step - 1);
    report.gradient_norm = result.gradient_norm;
    report.corrupt = corrupt_;
    metrics_->write(report);
    progress.show(step, progress_text(report, steps_));
  }

  void save(ProgressLine& progress) {
    settle(progress);
    const auto begin = Clock::now();
    Manifest manifest;
    manifest.config = to_toml(config_);
    manifest.seed = config_.train.seed;
    describe(*dataset_, manifest);
    if (done() == steps_)  // nothing follows: for those who read the file
      long_work(comm_, [&] { head_.settled_table().catch_up(); });
    std::int64_t bytes = 0;
    try {
      bytes = checkpoints_.save(saved_state(), config_.model.network, config_.model.embedding_size,
                                std::move(manifest));
    } catch (const NotSaved& error) {
      networks_.save_without_checkpoint(*backbone_, error.what(), done(), saved_);
    }
    saved_ = done();
    const auto end = Clock::now();
    save_or_stop_->saved(begin, end);
    meter_.exclude(end - begin);
    const double seconds = std::chrono::duration<double>(end - begin).count();
    if (!metrics_) return;
    metrics_->write(done(), SavedCheckpoint{.seconds = seconds, .bytes = bytes});
    progress.note(format("step %lld  checkpoint: %.1f MB in %.2f s", static_cast<long long>(done()),
                         static_cast<double>(bytes) / 1e6, seconds));
  }

  bool evaluation_is_due() const {
    return done() == steps_ || (config_.eval.every > 0 && done() % config_.eval.every == 0);
  }

  void evaluate(ProgressLine& progress) {
    settle(progress);
    const auto begin = Clock::now();
    for (const VerificationResult& found : evaluation_.run(*backbone_, done(), progress, comm_))
      metrics_->write(done(), found);
    networks_.save(*backbone_, evaluation_.is_best());
    meter_.exclude(Clock::now() - begin);
  }

  void stop_early(ProgressLine& progress) const {
    if (!comm_.is_first()) return;
    progress.note(
        format("stopped after step %lld of %lld; the same command with --resume goes on "
               "from there",
               static_cast<long long>(done()), static_cast<long long>(steps_)));
  }

  void finish(ProgressLine& progress) {
    if (!comm_.is_first()) return;
    evaluation_.write_roc(output_ / "roc.svg");
    if (comm_.world() > 1 && traffic_.steps() > 0) progress.note(traffic_.text());
    progress.note("the network is " + (output_ / "last.safetensors").string() +
                  "; everything else lies beside it");
  }

  /// A step whose result is not known yet.
  struct Unsettled {
    PendingStep made;
    StepPlan plan;
    double lr;
  };

  const Config& config_;
  Communicator& comm_;
  OutputFolder folder_;
  const fs::path& output_;
  Placement place_;
  ComputeOn compute_on_;
  Evaluation evaluation_;
  Checkpoints checkpoints_;
  SavedNetworks networks_;
  std::optional<Manifest> resumed_;  ///< what the run goes on from
  std::shared_ptr<Backbone> backbone_;
  std::unique_ptr<Dataset> dataset_;
  ClassSampler sampler_;
  StepPlanner planner_;
  ReadAhead read_ahead_;
  std::int64_t steps_;  ///< of the whole run
  LearningRate learning_rate_;
  PartialFc head_;
  GradientBuckets gradients_;
  std::unique_ptr<BackboneOptimizer> optimizer_;
  std::optional<LossScaler> scaler_;  ///< of float16
  Training training_;
  std::optional<Unsettled> unsettled_;

  RunState state_;
  std::int64_t saved_ = 0;                   ///< the step of the newest checkpoint
  std::int64_t corrupt_ = 0;                 ///< images that did not decode
  std::unordered_set<std::int64_t> broken_;  ///< those of them since the run was started or resumed
  std::optional<MetricsLog> metrics_;        ///< on the first rank
  std::optional<Loader> loader_;
  std::optional<SaveOrStop> save_or_stop_;
  Meter meter_;
  TrafficMeter traffic_;
};

}  // namespace

void train(const Config& config, Communicator& comm, Start start) {
  if (config.data.train.empty()) {
    throw Error("data.train is not set: name a train.rec or a folder of one folder an identity");
  }
  require_network(config.model.network, network_options(config.model));
  require_whole_batch(config.train.batch_size, comm.world(), config.train.micro_batches);
  try {
    Run(config, comm, start).go();
  } catch (const c10::OutOfMemoryError& error) {
    throw Error(out_of_memory(error.what_without_backtrace()));
  }
  comm.barrier();  // every rank's files exist
}

}  // namespace pfc
