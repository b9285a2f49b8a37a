#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/base/field.h"
#include "pfc/base/names.h"
#include "pfc/base/stepwise_number.h"
#include "pfc/comm/launch.h"
#include "pfc/data/augmentation.h"
#include "pfc/head/center_optimizer.h"
#include "pfc/head/gemm_input.h"
#include "pfc/head/loss.h"
#include "pfc/head/number_type.h"
#include "pfc/plan/sampler.h"

namespace pfc {

/// Where the class centres come from that are not taken from `init.from`.
enum class NewCenters {
  kRandom,  ///< drawn
  kMean,    ///< the mean embedding of the class's images
};
template <>
struct Names<NewCenters> {
  static constexpr auto kAll =
      named_values<NewCenters>({{NewCenters::kRandom, "random"}, {NewCenters::kMean, "mean"}});
};

/// Where class centres and their optimizer's state lie.
enum class CenterMemory {
  kDevice,  ///< in the memory of what computes
  kHost,    ///< in the machine's memory, also where a GPU computes
};
template <>
struct Names<CenterMemory> {
  static constexpr auto kAll = named_values<CenterMemory>(
      {{CenterMemory::kDevice, "device"}, {CenterMemory::kHost, "host"}});
};

/// How the learning rate falls (LearningRate).
enum class Decay { kPolynomial, kStep };
template <>
struct Names<Decay> {
  static constexpr auto kAll =
      named_values<Decay>({{Decay::kPolynomial, "polynomial"}, {Decay::kStep, "step"}});
};

/// What the backbone computes in.
enum class Precision { kFloat32, kBFloat16, kFloat16 };
template <>
struct Names<Precision> {
  static constexpr auto kAll = named_values<Precision>({{Precision::kFloat32, "float32"},
                                                        {Precision::kBFloat16, "bfloat16"},
                                                        {Precision::kFloat16, "float16"}});
};

/// A training run, as `pfc train CONFIG.toml` reads it. Names are those of the file: `[head]
/// sample_rate` is `head.sample_rate`. Paths are relative to the working directory, as on a command
/// line.
struct Config {
  struct Data {
    std::string train;      ///< a .rec, its folder, or a folder with one folder for each identity
    std::string cache_dir;  ///< where the index cache goes; empty: beside the data
    std::int64_t min_images = 1;  ///< identities with fewer images are dropped
    std::int64_t workers = 0;     ///< decoding threads; 0: chosen from the cores
    std::int64_t prefetch = 4;    ///< batches decoded ahead
    double max_corrupt_share =
        1e-3;             ///< of images that do not decode; a larger share stops the run
    bool resize = false;  ///< squares of another size become 112 x 112 when they are decoded
    bool mirror = true;   ///< flip half of the images left to right
    std::vector<std::string> augment = {};  ///< augmentations, in the order in which they are made
    std::int64_t shuffle_window = 0;        ///< images mixed while a file is read in order; 0: all

    bool operator==(const Data&) const = default;
  } data;
  AugmentationValues augment = usual_augmentation_values();  ///< what `data.augment` names uses
  struct Model {
    std::string network = "r50";
    std::int64_t embedding_size = 512;
    bool sync_bn = false;                  ///< batch normalisation over the images of all ranks
    NamedValues options = {};              ///< of the network, by the names that it knows
    std::vector<std::string> freeze = {};  ///< parts that do not train: "conv1", "layer1", …
    std::int64_t lora_rank = 0;            ///< of what trains beside the weights; 0: the weights do

    bool operator==(const Model&) const = default;
  } model;
  struct Init {
    std::string from;       ///< what training starts from: a backbone, or a checkpoint
    std::string class_map;  ///< where centres come from: "same", or a file
    NewCenters new_centers = NewCenters::kRandom;

    bool operator==(const Init&) const = default;
  } init;
  struct Head {
    StepwiseNumber sample_rate = 1.0;  ///< r
    Sampling sampling = Sampling::kStratified;
    std::string margin = "cosface";  ///< the loss's name
    double m = 0.4;                  ///< its m
    Losses losses = {};              ///< the losses' other settings
    double scale = 64.0;             ///< s
    double interclass_filter = 0.0;  ///< negatives above this cosine are masked; 0: off
    /// What steps that do not sample a centre do to it: nothing, or decay and momentum.
    CenterOptimizer::Update update = CenterOptimizer::Update::kSampled;
    NumberType center_type = NumberType::kFloat32;  ///< how class centres are stored
    NumberType state_type = NumberType::kFloat32;   ///< how their optimizer's state is stored
    CenterMemory center_memory = CenterMemory::kDevice;
    NumberType gather_type = NumberType::kFloat32;  ///< what embeddings travel as
    std::int64_t workspace_mb = 512;          ///< for keeping probabilities between the two passes
    std::optional<GemmInput> gemm_type = {};  ///< none: chosen for the GPU

    /// The loss that `margin` names, with its settings.
    Loss loss() const { return loss_named(margin, losses, m); }
    bool operator==(const Head&) const = default;
  } head;
  struct Optimizer {
    CenterOptimizer::Kind kind = CenterOptimizer::Kind::kSgd;  ///< of backbone and centres
    double momentum = 0.9;                                     ///< of SGD
    double weight_decay = 5e-4;
    double clip_norm = 5.0;  ///< of the backbone's gradient; 0: off

    bool operator==(const Optimizer&) const = default;
  } optimizer;
  struct Schedule {
    Decay kind = Decay::kPolynomial;
    double lr = 0.1;
    double warmup = 0.0;                        ///< share of the run's steps
    double power = 1.0;                         ///< of kPolynomial
    std::vector<std::int64_t> milestones = {};  ///< of kStep, in steps
    double factor = 0.1;                        ///< of kStep

    bool operator==(const Schedule&) const = default;
  } schedule;
  struct Train {
    std::int64_t batch_size = 128;   ///< over all ranks
    std::int64_t micro_batches = 1;  ///< parts that a batch goes through the network in
    double epochs = 20;              ///< how long: either this …
    std::int64_t steps = 0;          ///< … or this; exactly one of them is not 0
    std::uint64_t seed = 0;
    UseGpus device = UseGpus::kWhereThereAre;
    std::optional<Precision> precision = {};  ///< none: the fastest that the device has
    std::int64_t threads = 0;    ///< of a rank for arithmetic; 0: the cores, shared by the ranks
    std::int64_t timeout = 600;  ///< seconds that a rank waits for the others

    bool operator==(const Train&) const = default;
  } train;
  struct Eval {
    std::vector<std::string> sets;  ///< verification sets (.bin); the first chooses the best model
    std::int64_t every = 0;         ///< steps between evaluations; 0: at the end only

    bool operator==(const Eval&) const = default;
  } eval;
  struct Checkpoint {
    std::int64_t every = 0;       ///< steps; 0: every ten minutes
    std::int64_t keep_last = 2;   ///< how many of the newest are kept
    std::int64_t keep_every = 0;  ///< one is saved, and kept, every so many steps; 0: none

    bool operator==(const Checkpoint&) const = default;
  } checkpoint;
  struct Log {
    std::int64_t every = 10;  ///< steps between lines of metrics.jsonl

    bool operator==(const Log&) const = default;
  } log;
  std::string output = "output";  ///< the folder that everything is written to

  bool operator==(const Config&) const = default;
};

/// Reads a TOML file, then applies `overrides`: "key.path=value", where the value is in TOML syntax
/// or a bare string. With `base = "other.toml"` (relative to itself) a file overrides the values of
/// another one. A list of one value needs no brackets. Of `train.epochs` and `train.steps` the one
/// set last counts; if one file, or the overrides, set both, that is an error. Throws DataError
/// with the line (or the override) for wrong syntax, unknown keys (naming the nearest known one),
/// wrong types, values out of range, and a `base` that leads back to itself. Throws UsageError for
/// an override without "=".
Config load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides);
/// The same from text, for tests and fuzzing; `name` stands for the file in messages. Text has no
/// folder, so `base` is an error in it.
Config parse_config(std::string_view text, std::string_view name,
                    const std::vector<std::string>& overrides);
/// The whole configuration as TOML with every key, as it is kept with a run's results. Parsing it
/// gives an equal configuration.
std::string to_toml(const Config& config);
/// Every key with its default, the values it accepts and its meaning, for `pfc train --help`.
std::string config_reference();

}  // namespace pfc
