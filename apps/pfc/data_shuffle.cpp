#include <filesystem>
#include <iostream>
#include <memory>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"
#include "pfc/data/record_shuffle.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

fs::path rec_in(const fs::path& path) {
  return path.extension() == ".rec" ? path : path / "train.rec";
}

void run_shuffle(RecordShuffleOptions options) {
  options.from = rec_in(options.from);
  options.to = new_rec(options.to);
  const StopRequest stop;
  std::unique_ptr<ProgressLine> line;
  options.progress = [&](std::int64_t done, std::int64_t total) {
    if (stop.made()) throw Error("stopped; the same command starts again from the beginning");
    if (!line) line = std::make_unique<ProgressLine>(total);
    if (line->due(done)) {
      line->show(done, part_of_size(done / 2, total / 2) + ", each byte read twice");
    }
  };
  const std::int64_t records = shuffle_records(options);
  line.reset();
  std::cout << options.to.string() << ": " << counted(records, "record") << " in random order\n\n"
            << "To train on it with sequential reads:\n"
            << "  --set data.train=" << options.to.string()
            << " --set data.shuffle_window=100000\n";
}

}  // namespace

void add_data_shuffle(CLI::App& data) {
  CLI::App* command = data.add_subcommand(
      "shuffle", "Put a train.rec in random order, for disks that are slow at random reads");
  const auto options = std::make_shared<RecordShuffleOptions>();
  command->add_option("INPUT", options->from, "A .rec with its .idx, or its folder")
      ->required()
      ->type_name("INPUT");
  command->add_option("-o,--output", options->to, "The new .rec, or its folder")
      ->required()
      ->type_name("OUT");
  command->add_option("--seed", options->seed, "Seed of the order")->capture_default_str();
  command->footer(
      "Keys, labels and bytes do not change; only the places in the file do.\n\n"
      "Example:\n"
      "  pfc data shuffle glint360k -o /disk/glint360k_shuffled");
  command->callback([options] { run_shuffle(*options); });
}

}  // namespace pfc
