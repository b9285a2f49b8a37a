#include <filesystem>
#include <memory>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/files.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/data/set_summary.h"

namespace pfc {
namespace {

struct InfoCommand {
  std::filesystem::path input, sheet;
  bool json = false;
};

void run_info(const InfoCommand& command) {
  require_other(command.input, command.sheet);
  require_writable(command.sheet);
  const auto source = open_faces(command.input);
  SetSummary summary;
  FaceWalk().each(*source, "reading", [&](const Face& face) { summary.add(face); });
  print_text(command.json ? summary.json() : summary.text(), {command.sheet});
  if (command.sheet.empty()) return;
  AtomicFile file(command.sheet);
  file.write(encode_png(summary.sheet()));
  file.commit();
  if (!command.json)
    print_text("\n" + command.sheet.string() + ": what they look like\n", {command.sheet});
}

}  // namespace

void add_data_info(CLI::App& data) {
  CLI::App* command = data.add_subcommand("info", "What a set holds: counts, sizes, a picture");
  const auto options = std::make_shared<InfoCommand>();
  command->add_option("INPUT", options->input, "A .rec, .lst, .tar or folder")
      ->required()
      ->type_name("INPUT");
  command->add_option("--sheet", options->sheet, "Write a picture of some identities, one row each")
      ->type_name("PNG");
  command->add_flag("--json", options->json, "Print JSON, for programs");
  command->footer(
      "Reads the header of every image. `pfc inspect` only counts a .rec and is much faster.\n\n"
      "Examples:\n"
      "  pfc data info faces/train.rec --sheet faces.png\n"
      "  pfc data info photos --json");
  command->callback([options] { run_info(*options); });
}

}  // namespace pfc
