#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/data/loader.h"
#include "pfc/data/set_summary.h"
#include "pfc/plan/step_plan.h"
#include "pfc/train/config.h"

namespace pfc {
namespace {

struct InfoCommand {
  std::filesystem::path input, sheet, augment;
  bool json = false;
};

/// What training with a configuration would make of a set's images in its first step.
class TrainingView {
 public:
  explicit TrainingView(const std::filesystem::path& file)
      : config_(load_config(file, {})),
        options_{
            .resize = config_.data.resize,
            .augmenter = Augmenter(config_.data.augment, config_.augment, config_.train.seed)} {}

  RgbImage operator()(std::span<const std::byte> encoded, std::size_t place) const {
    RgbImage face{kFaceSize, kFaceSize,
                  std::vector<std::uint8_t>(std::size_t{3} * kFaceSize * kFaceSize)};
    const bool mirrored = config_.data.mirror && is_mirrored(config_.train.seed, 0, place);
    decode_for_batch(encoded, mirrored, 0, static_cast<std::int64_t>(place), options_,
                     face.pixels.data());
    return face;
  }
  /// "mirror, crop 0.2, photometric 0.2": what changes them, how often.
  std::string text() const {
    std::string all = config_.data.mirror ? "mirror 0.5" : "";
    for (const std::string& each : config_.data.augment) {
      all += (all.empty() ? "" : ", ") + each + " " +
             format("%g", config_.augment.at(each + ".probability"));
    }
    return all.empty() ? "nothing changes them" : all;
  }

 private:
  Config config_;
  LoaderOptions options_;
};

void run_info(const InfoCommand& command) {
  require_other(command.input, command.sheet);
  require_writable(command.sheet);
  std::optional<TrainingView> training;
  if (!command.augment.empty()) training.emplace(command.augment);
  const auto source = open_faces(command.input);
  SetSummary summary;
  FaceWalk().each(*source, "reading", [&](const Face& face) { summary.add(face); });
  print_text(command.json ? summary.json() : summary.text(), {command.sheet});
  if (command.sheet.empty()) return;
  const RgbImage sheet = training ? summary.sheet(*training) : summary.sheet();
  AtomicFile file(command.sheet);
  file.write(encode_png(sheet));
  file.commit();
  if (command.json) return;
  const std::string what = training ? "as training sees them (" + training->text() + ")"
                                    : std::string("what they look like");
  print_text("\n" + command.sheet.string() + ": " + what + "\n", {command.sheet});
}

}  // namespace

void add_data_info(CLI::App& data) {
  CLI::App* command = data.add_subcommand("info", "What a set holds: counts, sizes, a picture");
  const auto options = std::make_shared<InfoCommand>();
  command->add_option("INPUT", options->input, "A .rec, .lst, .tar or folder")
      ->required()
      ->type_name("INPUT");
  CLI::Option* const sheet = command
                                 ->add_option("--sheet", options->sheet,
                                              "Write a picture of some identities, one row each")
                                 ->type_name("PNG");
  command
      ->add_option("--augment", options->augment,
                   "On the sheet, images as training with this configuration sees them: resized, "
                   "mirrored and augmented as it says")
      ->needs(sheet)
      ->type_name("TOML");
  command->add_flag("--json", options->json, "Print JSON, for programs");
  command->footer(
      "Reads the header of every image. `pfc inspect` only counts a .rec and is much faster.\n\n"
      "Examples:\n"
      "  pfc data info faces/train.rec --sheet faces.png\n"
      "  pfc data info faces/train.rec --sheet seen.png --augment mine.toml\n"
      "  pfc data info photos --json");
  command->callback([options] { run_info(*options); });
}

}  // namespace pfc
