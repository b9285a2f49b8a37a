#include <filesystem>
#include <iostream>
#include <memory>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/data/pairs.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct PackCommand {
  fs::path input, output, root;
};

void run_pack_pairs(const PackCommand& command) {
  require_new(command.output);
  require_writable(command.output);
  std::unique_ptr<ProgressLine> line;
  std::int64_t pairs = 0;
  pack_pairs(command.input, command.root.empty() ? command.input.parent_path() : command.root,
             command.output, [&](std::int64_t done, std::int64_t total) {
               if (!line) line = std::make_unique<ProgressLine>(total);
               line->show(done, grouped(done) + " of " + counted(total, "pair"));
               pairs = done;
             });
  line.reset();
  std::cout << command.output.string() << ": " << counted(pairs, "pair") << "\n";
}

void run_pack(const PackCommand& command) {
  if (command.output.extension() == ".bin") return run_pack_pairs(command);
  const fs::path rec = new_rec(command.output);
  const auto source = open_faces(command.input, command.root);
  std::int64_t unreadable = 0;
  std::string last;
  const auto sink = begin_rec(rec, [&](const Face& face) {
    ++unreadable;
    last = face.name;
  });
  FaceWalk walk;
  walk.copy(*source, *sink);
  sink->commit();
  std::cout << rec.string() << ": " << walk.copied() << "\n";
  if (unreadable > 0) {
    std::cout << grouped(unreadable) << " of them " << (unreadable == 1 ? "does" : "do")
              << " not decode, the last one " << printable(last)
              << ": pfc data verify lists them\n";
  }
}

}  // namespace

void add_data_pack(CLI::App& data) {
  CLI::App* command = data.add_subcommand(
      "pack", "Pack image files into a train.rec, or pairs of images into a .bin");
  const auto options = std::make_shared<PackCommand>();
  command
      ->add_option("INPUT", options->input,
                   "A folder with one folder for each identity, a list of images, a .tar or a "
                   "folder of them (WebDataset), or a .rec; for a .bin a list of pairs")
      ->required()
      ->type_name("INPUT");
  command
      ->add_option("-o,--output", options->output,
                   "The .rec, or its folder; a .bin for a list of pairs")
      ->required()
      ->type_name("OUT");
  command
      ->add_option(
          "--root", options->root,
          "The folder that the paths of a list start from; by default the list's own folder")
      ->type_name("FOLDER");
  command->footer(
      "Images are JPEG, PNG, WebP or BMP, with any name; their bytes do not change.\n"
      "A list of images (.lst, .txt, .csv) has lines \"index label path\" (im2rec's),\n"
      "\"1 path label\" (InsightFace's) or \"path label\"; a list of pairs is LFW's pairs.txt,\n"
      "CALFW's or CPLFW's, or has lines \"PATH1 PATH2 SAME\". An identity is a folder that\n"
      "holds images, at any depth. If all are named id_NUMBER, the numbers become the labels;\n"
      "otherwise they are numbered from 0 in the order of their names.\n\n"
      "Examples:\n"
      "  pfc data pack photos -o faces\n"
      "  pfc data pack train.lst --root images -o faces/train.rec\n"
      "  pfc data pack pairs.txt --root lfw-112x112 -o lfw.bin");
  command->callback([options] { run_pack(*options); });
}

}  // namespace pfc
