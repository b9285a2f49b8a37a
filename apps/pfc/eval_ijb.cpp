#include <memory>
#include <string>

#include "commands.h"
#include "evaluation.h"
#include "pfc/base/error.h"
#include "pfc/base/paths.h"
#include "pfc/eval/ijb.h"
#include "pfc/eval/protocol_reports.h"

namespace pfc {
namespace {

struct IjbCommand {
  std::string folder, features;
  ModelOptions model;
  ReportFiles files;
  bool no_detector_score = false, normalise_images = false, no_mirror = false;
};

void run_ijb(const IjbCommand& command) {
  if (command.features.empty() == command.model.model.empty())
    throw UsageError("give either --model or --features");
  require_outputs({command.files.html, command.files.json});
  const auto comm = join_evaluation();
  const IjbSet set = open_ijb(command.folder);
  std::unique_ptr<Features> features;
  if (command.features.empty()) {
    if (!is_folder(set.images_folder))
      throw Error(set.images_folder.string() +
                  ": not found; this should be the folder of the images");
    features = command.model.embed(*aligned_images(set), !command.no_mirror, true, *comm);
  } else {
    features = open_features(command.features, set.images.count(), set.images_list);
  }
  if (!comm->is_first()) return;
  const IjbOptions options{.use_detector_score = !command.no_detector_score,
                           .normalise_images = command.normalise_images};
  const IjbTemplates templates = pool_templates(set.images, *features, options);
  const IjbVerification verification = verify_templates(templates, set.pairs);
  const auto identification = identify_templates(templates, set);
  const auto images = aligned_images(set);
  command.files.write(
      ijb_report(set, templates, verification, identification, options, pictures_of(*images),
                 command.features.empty() ? command.model.model : command.features));
}

}  // namespace

void add_eval_ijb(CLI::App& eval) {
  CLI::App* command =
      eval.add_subcommand("ijb", "IJB-B and IJB-C: templates verified 1:1 and identified 1:N");
  const auto options = std::make_shared<IjbCommand>();
  command
      ->add_option("FOLDER", options->folder,
                   "The folder of IJB-C or IJB-B: loose_crop with the images, meta with the lists")
      ->required()
      ->type_name("FOLDER");
  options->model.add_options(*command);
  command
      ->add_option("--features", options->features,
                   "Embeddings, one row for each line of *_name_5pts_score.txt, each the sum for "
                   "an image and its mirror image")
      ->type_name("FILE.npy");
  command->add_flag(
      "--no-detector-score", options->no_detector_score,
      "Weight all images of a medium equally; published figures use the detector's score");
  command->add_flag("--normalise-images", options->normalise_images,
                    "Scale each image's embedding to unit length first; published figures do not");
  command->add_flag("--no-mirror", options->no_mirror,
                    "Embed only the images, without their mirror images");
  options->files.add_options(*command);
  command->footer(
      "Examples:\n"
      "  pfc eval ijb IJBC --model output/best.safetensors --report ijbc.html\n"
      "  pfc eval ijb IJBC --features ijbc.npy\n"
      "  mpirun -np 4 pfc eval ijb IJBB --model backbone.pth");
  command->callback([options] { run_ijb(*options); });
}

}  // namespace pfc
