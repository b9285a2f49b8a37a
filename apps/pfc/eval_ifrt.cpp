#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "evaluation.h"
#include "pfc/base/error.h"
#include "pfc/comm/long_work.h"
#include "pfc/eval/ifrt.h"
#include "pfc/eval/protocol_reports.h"

namespace pfc {
namespace {

struct IfrtCommand {
  std::string input, images;
  ModelOptions model;
  ReportFiles files;
  std::vector<double> fars = {1e-6};
  std::vector<std::string> between;
  bool mirror = false;
};

void run_ifrt(const IfrtCommand& command) {
  require_outputs({command.files.html, command.files.json});
  const auto comm = join_evaluation();
  IfrtOptions options{.fars = command.fars, .progress = show_progress("comparing", "block", *comm)};
  if (!command.between.empty()) {
    options.between_first = command.between[0];
    options.between_second = command.between[1];
  }
  std::unique_ptr<ImageSource> images;
  std::unique_ptr<Features> features;
  if (command.model.model.empty()) {
    if (!command.input.ends_with(".npy")) {
      throw UsageError(command.input +
                       ": images need a network, --model FILE; or give embeddings, a .npy");
    }
    features = open_features(command.input);
    if (!command.images.empty()) images = open_images(command.images);
  } else {
    images = long_work(*comm, [&] { return open_images(command.input); });
    require_ifrt_names(names_of(*images), options);
    features = command.model.embed(*images, command.mirror, false, *comm);
  }
  const IfrtResult result = evaluate_ifrt(*features, options, *comm);
  if (!comm->is_first()) return;
  const ImageOfRow picture = images ? pictures_by_name(*images, *features) : no_picture;
  command.files.write(
      ifrt_report(result, *features, picture,
                  command.input + (command.model.model.empty() ? "" : ", " + command.model.model)));
}

}  // namespace

void add_eval_ifrt(CLI::App& eval) {
  CLI::App* command = eval.add_subcommand(
      "ifrt", "Compare all images with all, within groups and over all: the IFRT or MFR test");
  command->alias("mfr");
  const auto options = std::make_shared<IfrtCommand>();
  command
      ->add_option("INPUT", options->input,
                   "Embeddings as `pfc embed` writes them (a .npy, with the names of its rows in "
                   "the .txt beside it); with --model, images: a .rec or a folder")
      ->required()
      ->type_name("PATH");
  options->model.add_options(*command);
  command->add_flag("--mirror", options->mirror,
                    "Add the embeddings of the mirror images; published figures do not");
  command->add_option("--far", options->fars, "False accept rates, each an upper bound")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--between", options->between,
                   "Compare the images of the first group with those of the second, for example "
                   "masked with plain faces")
      ->expected(2)
      ->type_name("GROUP");
  command
      ->add_option("--images", options->images,
                   "The images of the embeddings, for the report's pictures")
      ->type_name("PATH");
  options->files.add_options(*command);
  command->footer(
      "The names tell the people: GROUP/IDENTITY/IMAGE, or IDENTITY/IMAGE without groups.\n\n"
      "Examples:\n"
      "  pfc eval ifrt mfr.npy --report mfr.html\n"
      "  pfc eval ifrt mfr_images --model output/best.safetensors --far 1e-6 1e-4\n"
      "  pfc eval ifrt masks.npy --between mask plain --far 1e-4\n"
      "  mpirun -np 8 pfc eval ifrt mfr.npy");
  command->callback([options] { run_ifrt(*options); });
}

}  // namespace pfc
