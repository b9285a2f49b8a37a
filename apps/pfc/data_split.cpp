#include <filesystem>
#include <iostream>
#include <memory>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/face_selection.h"
#include "pfc/data/held_out.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct SplitCommand {
  fs::path input, output;
  HeldOutOptions held_out{.identities = 0, .pairs = 6000};
};

void run_split(const SplitCommand& command) {
  if (command.held_out.pairs % 20 != 0)
    throw UsageError("--pairs wants a multiple of 20, for ten folds of both kinds");
  const fs::path bin = command.output / "held_out.bin";
  require_new(bin);
  const fs::path train_rec = new_rec(command.output);
  const fs::path held_rec = new_rec(command.output / "held_out");

  FaceWalk walk;
  ImageCounts counts;
  walk.each(*open_faces(command.input), "counting",
            [&](const Face& face) { counts.add(face.identity); });
  HeldOut held_out(command.held_out, counts.of());

  const auto train = begin_rec(train_rec), held = begin_rec(held_rec);
  std::int64_t images = 0, held_images = 0;
  walk.each(*open_faces(command.input), "splitting", [&](const Face& face) {
    const Face renumbered{held_out.number(face.identity), face.name, face.image};
    if (held_out.holds(face.identity)) {
      held_out.keep(face);
      held->add(renumbered);
      ++held_images;
    } else {
      train->add(renumbered);
      ++images;
    }
  });
  train->commit();
  held->commit();
  std::cout << train_rec.string() << ": " << counted(images, "image") << "\n"
            << held_rec.string() << ": " << counted(held_images, "image") << " of "
            << counted(command.held_out.identities, "identity") << "\n";
  if (command.held_out.pairs == 0) return;
  held_out.write_pairs(bin);
  std::cout << bin.string() << ": " << counted(command.held_out.pairs, "pair") << " of them\n";
}

}  // namespace

void add_data_split(CLI::App& data) {
  CLI::App* command =
      data.add_subcommand("split", "Hold out identities, with pairs of them for verification");
  const auto options = std::make_shared<SplitCommand>();
  command->add_option("INPUT", options->input, "A .rec, .lst, .tar or folder")
      ->required()
      ->type_name("INPUT");
  command
      ->add_option("-o,--output", options->output,
                   "The folder for train.rec, held_out/train.rec and held_out.bin")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--identities", options->held_out.identities,
                   "How many identities are held out, among those with at least two images")
      ->required()
      ->check(CLI::Range(std::int64_t{2}, std::int64_t{1} << 40));
  command
      ->add_option("--pairs", options->held_out.pairs,
                   "Number of pairs of their images, half of them of one person; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--seed", options->held_out.seed, "Seed that chooses the identities")
      ->capture_default_str();
  command->footer(
      "Example:\n"
      "  pfc data split faces -o split --identities 300 --pairs 3000");
  command->callback([options] { run_split(*options); });
}

}  // namespace pfc
