#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>

#include "commands.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"
#include "pfc/data/decode_check.h"
#include "pfc/data/list_name.h"

namespace pfc {
namespace {

struct VerifyCommand {
  std::filesystem::path input, list;
};

void run_verify(const VerifyCommand& command) {
  require_other(command.input, command.list);
  require_writable(command.list);
  const auto source = open_faces(command.input);
  std::optional<AtomicFile> list;
  if (!command.list.empty()) list.emplace(command.list);
  ProgressLine line(source->progress().total);
  const StopRequest stop;
  std::int64_t broken = 0, checked = 0;
  check_images(
      *source, std::max(1, static_cast<int>(std::thread::hardware_concurrency())),
      [&](const BrokenImage& image) {
        ++broken;
        const std::string text = list_name(image.name) + "\t" + std::to_string(image.identity) +
                                 "\t" + image.reason + "\n";
        if (list) {
          list->write(text);
        } else {
          line.clear();  // standard output may be the same terminal
          std::cout << text << std::flush;
        }
      },
      [&](StreamProgress progress, std::int64_t images) {
        if (stop.made()) throw Error("stopped; the same command starts again from the beginning");
        checked = images;
        if (line.due(progress.done))
          line.show(progress.done, counted(images, "image") + ", " + grouped(broken) + " broken");
      });
  line.show(source->progress().total,
            counted(checked, "image") + ", " + grouped(broken) + " broken");
  if (list) list->commit();
  if (const std::string what = source->passed_over(); !what.empty())
    line.note("passed over: " + what);
  if (broken > 0) {
    throw Error(command.input.string() + ": " + grouped(broken) + " of " +
                counted(checked, "image") + (broken == 1 ? " does" : " do") +
                " not decode; `pfc data filter --drop-images` leaves " +
                (broken == 1 ? "it" : "them") + " out");
  }
  print_text(command.input.string() + ": all of " + counted(checked, "image") + " decode\n",
             {command.list});
}

}  // namespace

void add_data_verify(CLI::App& data) {
  CLI::App* command =
      data.add_subcommand("verify", "Decode every image and list those that are broken");
  const auto options = std::make_shared<VerifyCommand>();
  command->add_option("INPUT", options->input, "A .rec, .lst, .tar or folder")
      ->required()
      ->type_name("INPUT");
  command
      ->add_option("--list", options->list,
                   "Write the list to this file and not to the screen: name, identity, what is "
                   "wrong. `pfc data filter --drop-images` reads it")
      ->type_name("FILE");
  command->footer(
      "Exits with 1 if an image is broken.\n\n"
      "Example:\n"
      "  pfc data verify faces/train.rec --list broken.txt");
  command->callback([options] { run_verify(*options); });
}

}  // namespace pfc
