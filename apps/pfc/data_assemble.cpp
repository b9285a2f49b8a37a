// `pfc data check` and `pfc data assemble`: a set in parts, as it is distributed.
#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>

#include "commands.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"
#include "pfc/data/distributed_set.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct PartsCommand {
  fs::path folder, set, output;
};

DistributedSet set_of(const PartsCommand& command) {
  if (!fs::is_directory(command.folder))
    throw Error(command.folder.string() + ": not a folder, want the folder that holds the parts");
  if (command.set.empty()) return recognise_distributed_set(command.folder);
  for (const DistributedSet& known : known_distributed_sets())
    if (known.name == command.set.string()) return known;
  return parse_distributed_set(read_file(command.set), command.set.string());
}

/// A progress line for bytes. A signal stops the work.
class BytesLine {
 public:
  void show(std::int64_t done, std::int64_t total) {
    if (stop_.made()) throw Error("stopped");
    if (!line_) line_ = std::make_unique<ProgressLine>(total);
    if (!line_->due(done)) return;
    line_->show(done, part_of_size(done, total));
  }
  void end() { line_.reset(); }

 private:
  StopRequest stop_;
  std::unique_ptr<ProgressLine> line_;
};

std::string state_text(const CheckedPart& part, const DistributedFile& wanted) {
  switch (part.state) {
    case PartState::kGood:
      return "good";
    case PartState::kBad:
      return "BAD: md5 " + part.md5 + ", want " + wanted.md5;
    case PartState::kMissing:
      return "MISSING";
    case PartState::kUnknownSum:
      return "md5 " + part.md5 + ", no known sum to compare it with";
  }
  return "";
}

void run_check(const PartsCommand& command) {
  const DistributedSet set = set_of(command);
  BytesLine line;
  const auto parts = check_parts(
      set, command.folder, std::max(1, static_cast<int>(std::thread::hardware_concurrency())),
      [&](std::int64_t done, std::int64_t total) { line.show(done, total); });
  line.end();
  std::cout << set.title << "\n";
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::cout << format("  %-20s %20s  %s\n", set.parts[i].name.c_str(),
                        grouped(static_cast<std::int64_t>(parts[i].bytes)).c_str(),
                        state_text(parts[i], set.parts[i]).c_str());
    wrong += parts[i].state == PartState::kBad || parts[i].state == PartState::kMissing ? 1 : 0;
  }
  if (wrong > 0) {
    std::cout << std::flush;
    throw Error(
        command.folder.string() + ": " + grouped(wrong) + " of " + counted(parts.size(), "part") +
        (wrong == 1 ? " is missing or bad: get it again" : " are missing or bad: get them again"));
  }
}

void run_assemble(const PartsCommand& command) {
  require_writable_folder(command.output);
  const DistributedSet set = set_of(command);
  BytesLine line;
  assemble(set, command.folder, command.output,
           [&](std::int64_t done, std::int64_t total) { line.show(done, total); });
  line.end();
  std::cout << command.output.string() << ": " << set.title << ", whole\n";
}

void add_parts_options(CLI::App* command, PartsCommand& options) {
  command->add_option("FOLDER", options.folder, "The folder with the parts")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--set", options.set,
                   "Which set it is: glint360k, glint360k_2021, or a TOML file like those in "
                   "configs/datasets. By default it is recognised by the names of the parts")
      ->type_name("SET");
}

}  // namespace

void add_data_check(CLI::App& data) {
  CLI::App* command =
      data.add_subcommand("check", "Compare the parts of a downloaded set with their md5 sums");
  const auto options = std::make_shared<PartsCommand>();
  add_parts_options(command, *options);
  command->footer(
      "Exits with 1 if a part is missing or bad. After an interruption, the same command continues "
      "with the remaining parts.\n\n"
      "Example:\n"
      "  pfc data check downloads/glint360k");
  command->callback([options] { run_check(*options); });
}

void add_data_assemble(CLI::App& data) {
  CLI::App* command = data.add_subcommand(
      "assemble", "Join and unpack the parts of a set in one pass, comparing every sum");
  const auto options = std::make_shared<PartsCommand>();
  add_parts_options(command, *options);
  command->add_option("-o,--output", options->output, "The folder to create")
      ->required()
      ->type_name("FOLDER");
  command->footer(
      "The joined tar is not stored. After an interruption, the command starts again from the "
      "beginning.\n\n"
      "Example:\n"
      "  pfc data assemble downloads/glint360k -o /data/glint360k");
  command->callback([options] { run_assemble(*options); });
}

}  // namespace pfc
