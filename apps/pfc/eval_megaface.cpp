#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "commands.h"
#include "evaluation.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/paths.h"
#include "pfc/comm/long_work.h"
#include "pfc/eval/megaface.h"
#include "pfc/eval/megaface_files.h"
#include "pfc/eval/protocol_reports.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct MegafaceCommand {
  fs::path folder, features, probes, distractors, probe_list, distractor_list, probe_noises,
      distractor_noises, write;
  std::string algorithm = "pfc";
  ModelOptions model;
  ReportFiles files;
  double far = 1e-6;
  bool no_mirror = false;
};

/// FOLDER, with the files that were given in place of its own.
MegafaceFolder files_of(const MegafaceCommand& command) {
  MegafaceFolder files;
  if (!command.folder.empty()) files = megaface_folder(command.folder);
  if (!command.probe_list.empty()) files.probe_list = command.probe_list;
  if (!command.distractor_list.empty()) files.distractor_list = command.distractor_list;
  if (!command.probe_noises.empty()) files.probe_noises = command.probe_noises;
  if (!command.distractor_noises.empty()) files.distractor_noises = command.distractor_noises;
  return files;
}

std::vector<std::string> read_list(const fs::path& path, const MegafaceCommand& command,
                                   const char* name, int parts, const char* option) {
  if (!path.empty()) return read_megaface_list(path, parts);
  if (command.folder.empty())
    throw UsageError(std::string("a list of the images is needed: ") + option + " or FOLDER");
  throw Error(command.folder.string() + ": has no " + name +
              ", the list of its images; give your list with " + option);
}

struct Both {
  std::unique_ptr<Features> probes, distractors;
};

Both open_both(const MegafaceCommand& command, const MegafaceFolder& files,
               const MegafaceOptions& options, Communicator& comm) {
  if (!command.probes.empty()) {
    if (command.distractors.empty()) throw UsageError("--probes needs --distractors too");
    return {open_features(command.probes), open_features(command.distractors)};
  }
  auto probes = read_list(files.probe_list, command, "facescrub_lst", 2, "--probe-list");
  auto distractors =
      read_list(files.distractor_list, command, "megaface_lst", 3, "--distractor-list");
  if (!command.features.empty()) {
    return {open_megaface_features(command.features / "facescrub", command.algorithm,
                                   std::move(probes)),
            open_megaface_features(command.features / "megaface", command.algorithm,
                                   std::move(distractors))};
  }
  if (command.model.model.empty() || command.folder.empty())
    throw UsageError("give FOLDER with --model, or --features, or --probes");
  require_images(files);
  require_probes(probes, options);
  const auto embed = [&](const fs::path& images, std::vector<std::string> names, bool need_all) {
    return command.model.embed(*list_images(images, std::move(names)), !command.no_mirror, need_all,
                               comm);
  };
  return {embed(files.probe_images, std::move(probes), true),
          embed(files.distractor_images, std::move(distractors), false)};
}

/// Like remove_noises.py, with one value more, which marks bad distractors.
void write_features(const MegafaceCommand& command, const Both& both,
                    const MegafaceOptions& options) {
  constexpr float kMark = 100;
  const auto path_of = [&](const char* kind, const std::string& name) {
    return command.write / kind / (name + "_" + command.algorithm + ".bin");
  };
  const CleanProbes probes = clean_probes(*both.probes, options);
  const auto dim = static_cast<std::size_t>(probes.dim);
  std::vector<float> row(dim + 1);
  for (std::size_t i = 0; i < probes.order.size(); ++i) {
    std::copy_n(probes.values.begin() + static_cast<std::ptrdiff_t>(i * dim), dim, row.begin());
    write_megaface_feature(path_of("facescrub", both.probes->name(probes.order[i])), row);
  }
  ProgressLine line(both.distractors->count());
  for (std::int64_t i = 0; i < both.distractors->count(); ++i) {
    const std::array of = {i};
    read_unit_rows(*both.distractors, of, std::span(row).first(dim));
    const std::string name = both.distractors->name(i);
    row.back() = options.bad_distractors.contains(name) ? kMark : 0;
    write_megaface_feature(path_of("megaface", name), row);
    line.show(i + 1, "writing: " + counted(i + 1, "feature"));
  }
}

/// The images of the rows, if they are available.
std::unique_ptr<ImageSource> images_of(const fs::path& folder, const Features& features) {
  if (folder.empty() || !is_there(folder)) return nullptr;
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < features.count(); ++i) names.push_back(features.name(i));
  return list_images(folder, std::move(names));
}

void run_megaface(const MegafaceCommand& command) {
  require_outputs({command.files.html, command.files.json});
  const auto comm = join_evaluation();
  if (!command.write.empty() && comm->is_first()) require_writable_folder(command.write);
  MegafaceOptions options{.far = command.far,
                          .progress = show_progress("comparing", "block", *comm)};
  const MegafaceFolder files = files_of(command);
  if (!files.probe_noises.empty()) options.bad_probes = read_megaface_noises(files.probe_noises, 1);
  if (!files.distractor_noises.empty())
    options.bad_distractors = read_megaface_noises(files.distractor_noises, 3);
  const Both both = open_both(command, files, options, *comm);
  long_work(*comm, [&] {
    if (!command.write.empty() && comm->is_first()) write_features(command, both, options);
  });
  const MegafaceResult result = evaluate_megaface(*both.probes, *both.distractors, options, *comm);
  if (!comm->is_first()) return;
  const std::string from = !command.probes.empty()     ? command.probes.string()
                           : !command.features.empty() ? command.features.string()
                                                       : command.model.model;
  const auto probe_images = images_of(files.probe_images, *both.probes);
  const auto distractor_images = images_of(files.distractor_images, *both.distractors);
  command.files.write(
      megaface_report(result, *both.probes, *both.distractors,
                      probe_images ? pictures_of(*probe_images) : no_picture,
                      distractor_images ? pictures_of(*distractor_images) : no_picture, from));
}

}  // namespace

void add_eval_megaface(CLI::App& eval) {
  CLI::App* command = eval.add_subcommand(
      "megaface", "FaceScrub among a million distractors: identification and verification");
  const auto options = std::make_shared<MegafaceCommand>();
  command
      ->add_option("FOLDER", options->folder,
                   "InsightFace's megaface_testpack: facescrub_images, megaface_images, and beside "
                   "them facescrub_lst, megaface_lst and the noise lists")
      ->type_name("FOLDER");
  options->model.add_options(*command);
  command->add_flag("--no-mirror", options->no_mirror,
                    "Embed only the images, without their mirror images");
  command
      ->add_option("--features", options->features,
                   "Features in MegaFace's layout, facescrub/… and megaface/…, instead of a model")
      ->type_name("FOLDER");
  command->add_option("--algorithm", options->algorithm, "NAME in the files IMAGE_NAME.bin")
      ->type_name("NAME")
      ->capture_default_str();
  command
      ->add_option("--probes", options->probes,
                   "Or the probes' embeddings as `pfc embed` writes them, with names PERSON/IMAGE")
      ->type_name("FILE.npy");
  command
      ->add_option("--distractors", options->distractors,
                   "The distractors' embeddings, for use with --probes")
      ->type_name("FILE.npy");
  command->add_option("--probe-list", options->probe_list, "Instead of FOLDER/facescrub_lst")
      ->type_name("FILE");
  command
      ->add_option("--distractor-list", options->distractor_list,
                   "Instead of FOLDER/megaface_lst; a devkit's JSON is accepted too")
      ->type_name("FILE");
  command
      ->add_option("--probe-noises", options->probe_noises,
                   "Instead of FOLDER/facescrub_noises.txt: images that are replaced")
      ->type_name("FILE");
  command
      ->add_option("--distractor-noises", options->distractor_noises,
                   "Instead of FOLDER/megaface_noises.txt: images that match nothing")
      ->type_name("FILE");
  command->add_option("--far", options->far, "The false accept rate of the verification")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--write-features", options->write,
                   "Write the cleaned features in MegaFace's layout, for the devkit")
      ->type_name("FOLDER");
  options->files.add_options(*command);
  command->footer(
      "Examples:\n"
      "  pfc eval megaface megaface_testpack --model output/best.safetensors --report mf.html\n"
      "  pfc eval megaface megaface_testpack --features feature_out --algorithm insightface\n"
      "  pfc eval megaface --probes facescrub.npy --distractors megaface.npy");
  command->callback([options] { run_megaface(*options); });
}

}  // namespace pfc
