#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "commands.h"
#include "evaluation.h"
#include "face_walk.h"
#include "network_options.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"
#include "pfc/comm/launch.h"
#include "pfc/data/list_name.h"
#include "pfc/eval/set_cleaner.h"
#include "pfc/eval/sub_center_cleaner.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct CleanCommand {
  fs::path model, input, output, sub_centers;
  double far = -2;  // none given
  CleanOptions options;
  SubCenterOptions sub_center_options;
  NetworkOptions network;
};

void write_lists(const fs::path& folder, const CleanReport& report) {
  std::string far =
      "# image, its identity, cosine to that, the nearest other identity, cosine, why dropped\n";
  std::string duplicates = "# image, its identity, the earlier image, cosine\n";
  std::string same = "# set, identity, set, identity, cosine of their centres\n";
  std::string drop = "# image, why\n";
  for (const FarImage& image : report.far_images) {
    far += list_name(image.name) + "\t" + std::to_string(image.identity) +
           format("\t%.4f\t%lld\t%.4f", image.cosine, static_cast<long long>(image.nearest),
                  image.nearest_cosine) +
           (image.stranger ? "\tstranger\n" : "\n");
    if (image.stranger) drop += list_name(image.name) + "\tstranger\n";
  }
  for (const DuplicateImage& image : report.duplicates) {
    duplicates += list_name(image.name) + "\t" + std::to_string(image.identity) + "\t" +
                  list_name(image.of) + format("\t%.4f\n", image.cosine);
    drop += list_name(image.name) + "\tduplicate\n";
  }
  for (const SameLooking& pair : report.same) {
    same += format("1,%lld,1,%lld,%.4f\n", static_cast<long long>(pair.identity),
                   static_cast<long long>(pair.other), pair.cosine);
  }
  write_file(folder / "far.txt", far);
  write_file(folder / "duplicates.txt", duplicates);
  write_file(folder / "same.csv", same);
  write_file(folder / "drop_images.txt", drop);
}

/// Of either report.
void print_left_out(const auto& report) {
  if (report.not_embedded > 0)
    std::cout << "  " << counted(report.not_embedded, "image") << " not decoded as 112 x 112\n";
  if (!report.passed_over.empty()) std::cout << "  passed over: " << report.passed_over << "\n";
}

void print(const CleanCommand& command, const CleanReport& report) {
  const auto count = [](const auto& list, const char* noun) {
    return counted(std::ssize(list), noun);
  };
  const std::string out = command.output.string(), input = command.input.string();
  const auto strangers = std::ranges::count_if(report.far_images, &FarImage::stranger);
  std::cout << input << ": " << counted(report.images, "image") << " of "
            << counted(report.identities, "identity") << "\n"
            << "  " << count(report.far_images, "image")
            << " far from their identity, cosine below " << format("%.3f", report.far) << ": "
            << out << "/far.txt\n"
            << "  " << grouped(strangers) << " of them much closer to another identity\n"
            << "  " << count(report.duplicates, "image")
            << " nearly the same as an earlier one: " << out << "/duplicates.txt\n"
            << "  " << count(report.same, "pair") << " of identities that look the same: " << out
            << "/same.csv\n"
            << "  " << counted(report.alone, "image") << " without another of their identity\n";
  print_left_out(report);
  std::cout << "\nAfter you have looked at the lists:\n  pfc data filter " << input
            << " --drop-images " << out << "/drop_images.txt --same " << out
            << "/same.csv -o cleaned\n";
}

void write_lists(const fs::path& folder, const SubCenterReport& report) {
  std::string far =
      "# image, its identity, degrees to the identity's dominant centre, the nearest centre, the "
      "dominant one\n";
  std::string drop = "# image, why\n";
  for (const FarFromDominant& image : report.far) {
    far += list_name(image.name) + "\t" + std::to_string(image.identity) +
           format("\t%.1f\t%lld\t%lld\n", image.degrees, static_cast<long long>(image.nearest),
                  static_cast<long long>(image.dominant));
    drop += list_name(image.name) + "\tfar from the dominant centre\n";
  }
  write_file(folder / "far.txt", far);
  write_file(folder / "drop_images.txt", drop);
}

void print(const CleanCommand& command, const SubCenterReport& report) {
  const std::string out = command.output.string(), input = command.input.string();
  std::cout << input << ": " << counted(report.images, "image") << " of "
            << counted(report.identities, "identity") << ", " << report.centers_a_class
            << " centres each\n"
            << "  " << counted(report.at_dominant, "image")
            << " nearest to the dominant centre of their identity\n"
            << "  " << counted(std::ssize(report.far), "image") << " more than "
            << format("%g", command.sub_center_options.degrees) << " degrees from it: " << out
            << "/far.txt\n";
  if (report.unknown > 0)
    std::cout << "  " << counted(report.unknown, "image") << " of identities without centres\n";
  print_left_out(report);
  std::cout << "\nTo leave these images out:\n  pfc data filter " << input << " --drop-images "
            << out << "/drop_images.txt -o cleaned\n";
}

/// The lists that a way of cleaning writes.
std::vector<const char*> lists_of(const CleanCommand& command) {
  if (!command.sub_centers.empty()) return {"far.txt", "drop_images.txt"};
  return {"far.txt", "duplicates.txt", "same.csv", "drop_images.txt"};
}

/// With sub-centres the network may be that of their checkpoint; then the only path is the set's.
void settle_paths(CleanCommand& command) {
  if (!command.input.empty()) return;
  if (command.sub_centers.empty())
    throw UsageError("INPUT is required, a .rec, .lst or folder of aligned faces");
  command.input = std::exchange(command.model, command.sub_centers / "backbone.safetensors");
}

void run_clean(CleanCommand command) {
  settle_paths(command);
  for (const char* name : lists_of(command)) require_new(command.output / name);
  if (find_launch().rank == 0) require_writable_folder(command.output);
  const auto network = command.network.load(command.model);
  const auto comm = join_evaluation();
  const auto open = [&] { return open_faces(command.input); };
  open();  // reports errors in it before anything is created
  fs::create_directories(command.output);
  const StopRequest stop;
  std::unique_ptr<ProgressLine> line;
  std::string current;
  const auto progress = [&](const std::string& doing, std::int64_t done, std::int64_t total) {
    if (stop.made()) throw Error("stopped; the same command starts again from the beginning");
    if (doing != current) line = std::make_unique<ProgressLine>(total, 0, !comm->is_first());
    current = doing;
    if (line->due(done)) line->show(done, doing + ": " + grouped(done) + " of " + grouped(total));
  };
  const auto finish = [&](const auto& report) {
    line.reset();
    if (!comm->is_first()) return;
    write_lists(command.output, report);
    print(command, report);
  };
  if (!command.sub_centers.empty()) {
    SubCenterOptions& options = command.sub_center_options;
    options.batch_size = command.network.batch_size;
    options.progress = progress;
    finish(clean_by_sub_centers(*network, command.sub_centers, open, options, *comm));
    return;
  }
  CleanOptions& options = command.options;
  if (command.far >= -1) options.far = command.far;
  options.batch_size = command.network.batch_size;
  options.progress = progress;
  finish(clean(*network, open, options, *comm));
}

}  // namespace

void add_data_clean(CLI::App& data) {
  CLI::App* command = data.add_subcommand(
      "clean", "Find errors with a trained network: strangers, duplicates, one person twice");
  const auto options = std::make_shared<CleanCommand>();
  command
      ->add_option("MODEL", options->model,
                   "A backbone: .safetensors, .pth or .onnx; may be left out with --sub-centers")
      ->required()
      ->type_name("FILE");
  command->add_option("INPUT", options->input, "A .rec, .lst or folder of aligned faces")
      ->type_name("INPUT");
  command->add_option("-o,--output", options->output, "Where the lists go")
      ->required()
      ->type_name("FOLDER");
  CLI::Option* const sub_centers =
      command
          ->add_option("--sub-centers", options->sub_centers,
                       "The checkpoint of a run on this set with several centres a class "
                       "(head.margin = \"subcenter_arcface\"). Images far from the centre to which "
                       "most of their identity's are nearest go into the list of images to drop; "
                       "nothing else is looked for")
          ->type_name("FOLDER");
  command
      ->add_option("--degrees", options->sub_center_options.degrees,
                   "With --sub-centers: images at a larger angle to that centre are far")
      ->check(CLI::Range(0.0, 180.0))
      ->needs(sub_centers)
      ->capture_default_str();
  command
      ->add_option("--far", options->far,
                   "Images with a smaller cosine to their identity's other images are far. By "
                   "default the cosine that one image in a hundred reaches to a wrong identity")
      ->excludes(sub_centers)
      ->check(CLI::Range(-1.0, 1.0));
  command
      ->add_option("--margin", options->options.margin,
                   "A far image whose cosine to another identity is larger by this much is a "
                   "stranger; strangers go into the list of images to drop")
      ->excludes(sub_centers)
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  command
      ->add_option("--duplicate", options->options.duplicate,
                   "Two images of one identity with a larger cosine are duplicates")
      ->excludes(sub_centers)
      ->check(CLI::Range(-1.0, 1.0))
      ->capture_default_str();
  command
      ->add_option("--same", options->options.same,
                   "Two identities whose centres have a larger cosine look the same")
      ->excludes(sub_centers)
      ->check(CLI::Range(-1.0, 1.0))
      ->capture_default_str();
  options->network.add_options(*command);
  command->footer(
      "Nothing is changed: give the lists to `pfc data filter`. A network that was trained on the "
      "set itself has learnt some\n"
      "of its errors.\n\n"
      "Examples:\n"
      "  pfc data clean output/best.safetensors faces -o lists\n"
      "  mpirun -np 8 pfc data clean output/best.safetensors glint360k -o lists\n"
      "  pfc data clean --sub-centers output/checkpoints/step-000020000 glint360k -o lists");
  command->callback([options] { run_clean(*options); });
}

}  // namespace pfc
