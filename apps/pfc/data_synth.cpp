#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "commands.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/base/progress.h"
#include "pfc/data/synthetic_set.h"

namespace pfc {
namespace {

/// `done` of `total` images, and how fast.
std::string progress_text(std::int64_t done, std::int64_t total,
                          std::chrono::steady_clock::time_point start) {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto rate = static_cast<std::int64_t>(static_cast<double>(done) / std::max(seconds, 1e-3));
  return grouped(done) + " of " + counted(total, "image") + ", " + grouped(rate) + " images/s";
}

void run_synth(SyntheticSetOptions options) {
  keep_freed_memory();
  ProgressLine line(options.identities * options.images + 2 * options.pairs);
  const auto start = std::chrono::steady_clock::now();
  options.progress = [&](std::int64_t done, std::int64_t total) {
    if (line.due(done)) line.show(done, progress_text(done, total, start));
  };
  write_synthetic_set(options);

  const std::string rec = (options.folder / "train.rec").string();
  const std::string bin = (options.folder / "unseen.bin").string();
  std::cout << rec << ": " << counted(options.identities * options.images, "image") << " of "
            << counted(options.identities, "identity") << "\n"
            << bin << ": " << counted(options.pairs, "pair") << " of "
            << counted(options.unseen, "other") << "\n"
            << (options.folder / "faces.png").string() << ": what they look like\n\n"
            << "Train on them:\n"
            << "  pfc train configs/faces_tiny.toml --set data.train=" << rec
            << " --set eval.sets=" << bin << "\n";
}

}  // namespace

void add_data_synth(CLI::App& data) {
  CLI::App* command = data.add_subcommand(
      "synth", "Draw faces: a training set, a verification set of other identities, a picture");
  const auto options = std::make_shared<SyntheticSetOptions>();
  options->threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  command
      ->add_option("FOLDER", options->folder, "The folder for train.rec, unseen.bin and faces.png")
      ->required()
      ->type_name("FOLDER");
  command->add_option("--identities", options->identities, "Identities of the training set")
      ->capture_default_str();
  command->add_option("--images", options->images, "Images of each identity")
      ->capture_default_str();
  command->add_option("--unseen", options->unseen, "Identities of the verification set")
      ->capture_default_str();
  command->add_option("--pairs", options->pairs, "Pairs of the verification set")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Seed that decides which people are drawn")
      ->capture_default_str();
  command
      ->add_option("--threads", options->threads,
                   "Images drawn at the same time; the files do not depend on it")
      ->capture_default_str();
  command->footer(
      "Example:\n"
      "  pfc data synth faces --identities 5000 --images 20");
  command->callback([options] { run_synth(*options); });
}

}  // namespace pfc
