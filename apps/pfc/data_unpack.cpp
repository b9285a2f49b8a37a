#include <filesystem>
#include <iostream>
#include <memory>
#include <vector>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/outputs.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct UnpackCommand {
  std::vector<fs::path> inputs;
  fs::path output;
  std::string format = "folder";
  std::uint64_t shard_megabytes = 256;
};

std::unique_ptr<FaceSink> make_sink(const UnpackCommand& command) {
  if (command.format == "tar")
    return make_tar_sink(command.output, command.shard_megabytes * 1'000'000);
  return make_folder_sink(command.output, command.format == "lst");
}

void run_unpack(const UnpackCommand& command) {
  require_writable_folder(command.output);
  const auto sources = open_all(command.inputs);
  const auto sink = make_sink(command);
  FaceWalk walk;
  for (const auto& source : sources) walk.copy(*source, *sink);
  sink->commit();
  std::cout << command.output.string() << ": " << walk.copied() << "\n";
}

}  // namespace

void add_data_unpack(CLI::App& data) {
  CLI::App* command = data.add_subcommand("unpack", "Unpack a train.rec into files");
  const auto options = std::make_shared<UnpackCommand>();
  command
      ->add_option("INPUT", options->inputs,
                   "A .rec or its folder, or any other input of `pfc data pack`. Several sets are "
                   "merged; equal labels go into one folder")
      ->required()
      ->type_name("INPUT");
  command->add_option("-o,--output", options->output, "The folder to create")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--format", options->format,
                   "folder: id_LABEL/LABEL_N.jpg; lst: the same and train.lst; tar: WebDataset")
      ->check(CLI::IsMember({"folder", "lst", "tar"}))
      ->capture_default_str();
  command->add_option("--shard-size", options->shard_megabytes, "Megabytes of images in a tar")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->footer(
      "The bytes of images do not change. The folder gets its name when it is complete. If the "
      "command is run again after\n"
      "an interruption, existing files are kept.\n\n"
      "Examples:\n"
      "  pfc data unpack faces/train.rec -o photos\n"
      "  pfc data unpack glint360k ms1mv3 -o shards --format tar --shard-size 1000");
  command->callback([options] { run_unpack(*options); });
}

}  // namespace pfc
