#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/face_selection.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct MergeCommand {
  std::vector<fs::path> inputs;
  fs::path output, same;
};

void run_merge(const MergeCommand& command) {
  std::vector<SameIdentity> same;
  if (!command.same.empty()) same = parse_same(read_file(command.same), command.same.string());
  const fs::path rec = new_rec(command.output);
  const auto sources = open_all(command.inputs);
  FaceWalk walk;
  std::vector<ImageCounts> counts(sources.size());
  for (std::size_t i = 0; i < counts.size(); ++i) {
    walk.each(*sources[i], "counting", [&](const Face& face) { counts[i].add(face.identity); });
  }
  const auto numbers = join_identities(counts, same);

  const auto sink = begin_rec(rec);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto source = open_faces(command.inputs[i]);
    const auto joined = relabelled(*source, [&](const Face& face) {
      return numbers[i][static_cast<std::size_t>(face.identity)];
    });
    walk.copy(*joined, *sink);
  }
  sink->commit();
  std::cout << rec.string() << ": " << walk.copied() << "\n";
}

}  // namespace

void add_data_merge(CLI::App& data) {
  CLI::App* command = data.add_subcommand("merge", "Join several sets into one");
  const auto options = std::make_shared<MergeCommand>();
  command->add_option("INPUT", options->inputs, "Sets: a .rec, .lst, .tar or folder each")
      ->required()
      ->type_name("INPUT");
  command->add_option("-o,--output", options->output, "The new .rec, or its folder")
      ->required()
      ->type_name("OUT");
  command
      ->add_option("--same", options->same,
                   "Which identities are the same person: lines SET,IDENTITY,SET,IDENTITY, sets "
                   "counted from 1")
      ->type_name("CSV");
  command->footer(
      "The identities of a set are numbered after those of the sets before it, without gaps. (`pfc "
      "data unpack` of\n"
      "several sets treats equal labels as one person.)\n\n"
      "Examples:\n"
      "  pfc data merge ms1mv3 glint360k -o both\n"
      "  pfc data merge mine others -o all --same same.csv");
  command->callback([options] { run_merge(*options); });
}

}  // namespace pfc
