#include "train/config_fields.h"

#include <algorithm>
#include <iterator>

#include "pfc/head/loss.h"

namespace pfc {

namespace {

std::vector<std::string_view> augmentation_names() {
  std::vector<std::string_view> names;
  for (const Augmentation* each : augmentations()) names.push_back(each->name);
  return names;
}

/// The settings of all augmentations.
std::vector<Field> augmentation_fields(AugmentationValues& values) {
  std::vector<Field> all;
  const auto add = [&](const std::string& name, double usual, const Range& range,
                       const std::string& meaning) {
    double& value = values.try_emplace(name, usual).first->second;
    all.push_back(key::number("augment." + name, &value, OnResume::kTold, range, meaning));
  };
  for (const Augmentation* each : augmentations()) {
    add(each->name + ".probability", each->probability, key::from_to(0, 1),
        "how often " + each->meaning);
    for (const AugmentationSetting& setting : each->settings)
      add(each->name + "." + setting.name, setting.usual, setting.range, setting.meaning);
  }
  return all;
}

/// The keys of Config's own values.
std::vector<Field> own_fields(Config& c) {
  constexpr double kPi = 3.14159;
  using namespace key;
  using enum OnResume;
  std::vector<Field> all = {
      any("output", &c.output, kFree, "the folder that everything is written to"),

      any("data.train", &c.data.train, kFree,
          "the training set: a .rec, the folder of a train.rec, or a folder with one folder for "
          "each identity"),
      any("data.cache_dir", &c.data.cache_dir, kFree,
          "where the index cache is written; empty: beside the data"),
      number("data.min_images", &c.data.min_images, kFixed, from(1),
             "identities with fewer images are dropped and the others renumbered"),
      number("data.workers", &c.data.workers, kFree, from_to(0, 1024),
             "decoding threads; 0: chosen from the cores"),
      number("data.prefetch", &c.data.prefetch, kFree, from_to(1, 1024), "batches decoded ahead"),
      number("data.max_corrupt_share", &c.data.max_corrupt_share, kFree, from_to(0, 1),
             "a larger share of images that do not decode stops the run"),
      any("data.resize", &c.data.resize, kTold,
          "resize squares of another size to 112 x 112 when they are decoded; otherwise they count "
          "as images that do not decode"),
      any("data.mirror", &c.data.mirror, kFixed, "flip half of the images left to right"),
      choices("data.augment", c.data.augment, kTold, augmentation_names(),
              "random changes to training images, made after the flip in this order; each has a "
              "section [augment.NAME]"),
      number("data.shuffle_window", &c.data.shuffle_window, kFixed, from(0),
             "for disks that are slow at small reads: images are read in blocks of 1024, and this "
             "many are mixed, for example 100000; 0: images come in any order"),

      any("model.network", &c.model.network, kFixed,
          "tiny r18 r34 r50 r100 r124 r200 mbf mbf_large vit_t vit_s vit_b vit_l vit_h; AdaFace's "
          "ir_18 ir_34 ir_50 ir_101, face.evoLVe's ir_50_evolve ir_101_evolve ir_152_evolve; or a "
          "published variant: vit_t_dp005_mask0 vit_s_dp005_mask_0 vit_b_dp005_mask_005 "
          "vit_l_dp005_mask_005; or one that a program registered"),
      number("model.embedding_size", &c.model.embedding_size, kFixed, from_to(1, 8192),
             "length of an embedding"),
      any("model.sync_bn", &c.model.sync_bn, kTold,
          "normalise over the images of all ranks in batch normalisation, not over each rank's "
          "own"),
      any("model.options", &c.model.options, kFixed,
          "settings of a network that a program registered, by the names that it gives them"),
      any("model.freeze", &c.model.freeze, kFixed,
          "parts of the network that do not train, batch normalisation included: conv1, layer1, "
          "layer2.0, …"),
      number(
          "model.lora_rank", &c.model.lora_rank, kFixed, from_to(0, 4096),
          "of a vision transformer: the weights stay as they are (init.from), and low-rank parts "
          "of the linear layers of attention and MLP train (LoRA), 8 or 16 for example; pfc "
          "convert and export merge them; 0: the weights train"),

      any("init.from", &c.init.from, kFree,
          "start training from this backbone (.safetensors, .pth, .onnx), or from the folder of a "
          "checkpoint or of converted class centres; empty: from random values"),
      any("init.class_map", &c.init.class_map, kFree,
          "which class centres are taken from init.from: same (identities with the same name), or "
          "a file with lines 'identity here, identity there', using the data's own numbers or "
          "names of folders, as pfc data filter writes it; empty: none"),
      choice("init.new_centers", c.init.new_centers, kFree,
             "the other class centres: drawn, or the mean embedding of the class's images"),

      number(
          "head.sample_rate", &c.head.sample_rate, kTold, from_to(0, 1),
          "r, the share of the class centres that a step uses; 1: all, 0: the batch's own. It may "
          "change: [[0, 0.1], [20000, 0.3]] is 0.1, and 0.3 from step 20000 on"),
      choice("head.sampling", c.head.sampling, kTold,
             "how the other classes are drawn: one from each of equal strata, at random, or as "
             "stratified but in blocks of eight classes that lie together in memory"),
      choice("head.margin", c.head.margin, kTold, loss_names(),
             "the loss: what becomes of the cosine to a sample's own class. " + loss_formulas()),
      number("head.m", &c.head.m, kTold, from_to(0, kPi),
             "m of the loss (radians where it is added to the angle); the papers': cosface 0.4, "
             "adaface 0.4, the others 0.5"),
      number("head.scale", &c.head.scale, kTold, above_to(0, 1000),
             "s, what cosines are multiplied by"),
      number(
          "head.interclass_filter", &c.head.interclass_filter, kTold, from_to(0, 1),
          "the cosines of other classes that are larger leave the softmax, for noisy sets; 0: off"),
      choice("head.update", c.head.update, kFixed,
             "how a step changes a class centre that it does not sample: not at all, or by SGD's "
             "decay and momentum"),
      choice("head.center_type", c.head.center_type, kFixed,
             "how class centres are stored; bfloat16 is rounded stochastically"),
      choice("head.state_type", c.head.state_type, kFixed, "how their optimizer's state is stored"),
      choice("head.center_memory", c.head.center_memory, kFree,
             "where both are kept; host: in this machine's memory, from which each step's rows are "
             "copied to the GPU during the step before"),
      choice("head.gather_type", c.head.gather_type, kTold,
             "the type in which embeddings are sent between ranks"),
      number("head.workspace_mb", &c.head.workspace_mb, kTold, from_to(0, 1048576),
             "MiB of memory to keep probabilities between the head's two passes"),
      choice("head.gemm_type", c.head.gemm_type, kTold,
             "the input type of the head's matrix products on a GPU; auto: bfloat16, or float16 if "
             "the GPU has no bfloat16. Results are float32, and everything on a CPU is"),

      choice("optimizer.kind", c.optimizer.kind, kFixed,
             "the optimizer of the backbone and of the class centres"),
      number("optimizer.momentum", &c.optimizer.momentum, kFixed, from_below(0, 1),
             "momentum of sgd"),
      number("optimizer.weight_decay", &c.optimizer.weight_decay, kTold, from_to(0, 1),
             "weight decay, also of batch normalisation and PReLU; adamw's is decoupled"),
      number("optimizer.clip_norm", &c.optimizer.clip_norm, kTold, from(0),
             "the largest norm of the backbone's gradient, which is clipped to it; 0: off"),

      choice("schedule.kind", c.schedule.kind, kTold, "how the learning rate falls"),
      number("schedule.lr", &c.schedule.lr, kTold, from_to(0, 1000), "the full learning rate"),
      number("schedule.warmup", &c.schedule.warmup, kTold, from_to(0, 1),
             "share of the run's steps over which the rate rises linearly"),
      number("schedule.power", &c.schedule.power, kTold, from_to(0, 100),
             "for polynomial: lr · (1 − progress)^power"),
      number("schedule.milestones", &c.schedule.milestones, kTold, from(1),
             "for step: the steps, ascending, at which the rate is multiplied by factor"),
      number("schedule.factor", &c.schedule.factor, kTold, above_to(0, 1), "for step: the factor"),

      number("train.batch_size", &c.train.batch_size, kFixed, from_to(1, 1048576),
             "images in a step, over all ranks"),
      number("train.micro_batches", &c.train.micro_batches, kTold, from_to(1, 65536),
             "number of parts in which a batch goes through the network, to use less memory; loss "
             "and class centres are those of the whole batch"),
      number("train.epochs", &c.train.epochs, kTold, from_to(0, 1e6),
             "length of the run in epochs; set this or train.steps"),
      number("train.steps", &c.train.steps, kTold, from_to(0, 1e12),
             "length of the run in steps; the one that is not 0 counts"),
      number("train.seed", &c.train.seed, kFixed, from(0), "seed of everything random"),
      choice("train.device", c.train.device, kTold,
             "where a run computes; auto: on a GPU if there is one. Ranks share GPUs if there are "
             "fewer"),
      choice(
          "train.precision", c.train.precision, kTold,
          "the type in which the backbone computes; its parameters and last layers are always "
          "float32. auto: on a GPU bfloat16, or float16 if it has no bfloat16; on a CPU float32"),
      number("train.threads", &c.train.threads, kFree, from_to(0, 1024),
             "threads of a rank for arithmetic; 0: OMP_NUM_THREADS, or a share of the machine's "
             "cores"),
      number("train.timeout", &c.train.timeout, kFree, from_to(1, 1e6),
             "seconds that a rank waits for a silent rank; long work, such as an index or a "
             "checkpoint, does not count as silence"),

      any("eval.sets", &c.eval.sets, kFree,
          "verification sets (.bin); the best model is chosen by the first"),
      number("eval.every", &c.eval.every, kFree, from(0),
             "steps between evaluations; 0: at the end only"),

      number("checkpoint.every", &c.checkpoint.every, kFree, from(0),
             "steps between checkpoints; 0: every ten minutes, or less often, so that saving takes "
             "at most a twentieth of the time"),
      number("checkpoint.keep_last", &c.checkpoint.keep_last, kFree, from(1),
             "how many of the newest checkpoints are kept; with 1 there is none to fall back to"),
      number(
          "checkpoint.keep_every", &c.checkpoint.keep_every, kFree, from(0),
          "a checkpoint is saved at every multiple of this many steps and kept for good; 0: none"),

      number("log.every", &c.log.every, kFree, from(1), "steps between lines of metrics.jsonl"),
  };
  // The losses' own settings stand behind the one that they share.
  std::vector<Field> of_losses = loss_fields(c.head.losses);
  const auto shared = std::ranges::find(all, "head.m", &Field::key);
  all.insert(shared + 1, std::make_move_iterator(of_losses.begin()),
             std::make_move_iterator(of_losses.end()));
  return all;
}

}  // namespace

std::vector<Field> fields(Config& config) {
  std::vector<Field> all = own_fields(config);
  std::ranges::move(augmentation_fields(config.augment), std::back_inserter(all));
  return all;
}

std::string to_toml(const Config& config) {
  Config copy = config;
  std::string text, section;
  for (const Field& field : fields(copy)) {
    if (field.section() != section) {
      section = field.section();
      text += "\n[" + section.substr(0, section.size() - 1) + "]\n";
    }
    text += std::string(field.name()) + " = " + literal(field) + "\n";
  }
  return text;
}

std::string config_reference() {
  Config defaults;
  std::string text, section;
  for (const Field& field : fields(defaults)) {
    if (field.section() != section) {
      section = field.section();
      text += "\n[" + section.substr(0, section.size() - 1) + "]\n";
    }
    std::string line = "  " + std::string(field.name()) + " = " + literal(field);
    line.resize(std::max<std::size_t>(line.size() + 2, 34), ' ');
    text += line + wanted(field) + "\n      " + std::string(field.meaning) +
            (field.on_resume == OnResume::kFixed ? "; a resumed run keeps it" : "") + "\n";
  }
  return text;
}

}  // namespace pfc
