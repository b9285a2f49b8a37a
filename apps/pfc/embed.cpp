#include <array>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "commands.h"
#include "evaluation.h"
#include "network_options.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/comm/launch.h"
#include "pfc/comm/long_work.h"
#include "pfc/data/list_name.h"
#include "pfc/eval/embedder.h"
#include "pfc/formats/npy.h"

namespace pfc {
namespace {

struct EmbedCommand {
  std::string model, images;
  std::string output = "embeddings.npy";
  bool norms = false;
  NetworkOptions network;
};

/// embeddings.npy -> embeddings.txt
std::filesystem::path names_beside(std::filesystem::path npy) {
  return npy.replace_extension(".txt");
}

/// embeddings.npy -> embeddings.norms.npy
std::filesystem::path norms_beside(std::filesystem::path npy) {
  return npy.replace_extension(".norms.npy");
}

float norm(std::span<const float> embedding) {
  double squares = 0;
  for (const double value : embedding) squares += value * value;
  return static_cast<float>(std::sqrt(squares));
}

/// embeddings.npy -> embeddings.left_out.txt
std::filesystem::path left_out_beside(std::filesystem::path npy) {
  return npy.replace_extension(".left_out.txt");
}

void run_embed(const EmbedCommand& command) {
  if (names_beside(command.output) == command.output) {
    throw UsageError(command.output +
                     ": the names would be written to this file; choose a name for the matrix that "
                     "ends in .npy");
  }
  const std::filesystem::path left_out_list = left_out_beside(command.output);
  if (find_launch().rank == 0) require_regular(command.output);
  require_outputs({names_beside(command.output), left_out_list});
  if (command.norms) require_outputs({norms_beside(command.output)});
  const auto images = open_images(command.images);
  const auto network = command.network.load(command.model);
  const auto comm = join_evaluation();

  std::unique_ptr<NpyWriter> rows, norms;
  std::optional<AtomicFile> names;
  if (comm->is_first()) names.emplace(names_beside(command.output));
  // In memory until the end. There may be hours between two of them, and a temporary file that
  // nobody writes to may be removed as left over.
  std::string reasons;
  ProgressLine line(images->size(), 0, !comm->is_first());
  if (const std::string what = images->passed_over(); !what.empty())
    line.note("passed over: " + what);
  UnusableImages left_out(line, "left out: ");
  std::int64_t embedded = 0;
  embed(*network, *images,
        {.embedding =
             [&](std::int64_t image, std::span<const float> embedding) {
               ++embedded;
               if (!comm->is_first()) return;
               if (!rows) {
                 rows = std::make_unique<NpyWriter>(command.output, std::ssize(embedding));
                 if (command.norms)
                   norms = std::make_unique<NpyWriter>(norms_beside(command.output));
               }
               rows->add_row(embedding);
               if (norms) norms->add_row(std::array{norm(embedding)});
               names->write(list_name(images->name(image)) + "\n");
             },
         .left_out =
             [&](std::int64_t image, const std::string& reason) {
               if (!comm->is_first()) return;
               left_out.add(images->name(image), reason);
               reasons += list_name(images->name(image)) + "\t" + list_name(reason) + "\n";
             }},
        {.batch_size = command.network.batch_size,
         .progress =
             [&](std::int64_t done, std::int64_t total) {
               line.show(done, grouped(done) + " of " + counted(total, "image"));
             }},
        *comm);
  if (embedded == 0) {
    if (comm->is_first()) write_file(left_out_list, reasons);
    throw Error(command.images + ": none of " + counted(images->size(), "image") +
                " could be embedded; " + left_out_list.string() + " says why");
  }
  long_work(*comm, [&] {
    if (!comm->is_first()) return;
    rows->commit();
    names->commit();
    // Files of an earlier run would say something about other rows.
    if (norms) {
      norms->commit();
    } else {
      std::filesystem::remove(norms_beside(command.output));
    }
    if (left_out.count() > 0) {
      write_file(left_out_list, reasons);
    } else {
      std::filesystem::remove(left_out_list);
    }
  });
  if (comm->is_first()) {
    std::cout << counted(embedded, "embedding") << " in " << command.output << ", their names in "
              << names_beside(command.output).string();
    if (norms) std::cout << ", their lengths in " << norms_beside(command.output).string();
    if (left_out.count() > 0) {
      std::cout << "; " << counted(left_out.count(), "image") << " left out, "
                << left_out_list.string() << " says why";
    }
    std::cout << "\n";
  }
}

}  // namespace

void add_embed(CLI::App& app) {
  CLI::App* command = app.add_subcommand("embed", "Turn aligned 112 x 112 faces into embeddings");
  const auto options = std::make_shared<EmbedCommand>();
  command->add_option("MODEL", options->model, "A backbone: .safetensors, .pth or .onnx")
      ->required()
      ->type_name("FILE");
  command->add_option("IMAGES", options->images, "A .rec, a folder of images, or one image")
      ->required()
      ->type_name("PATH");
  command
      ->add_option(
          "-o,--output", options->output,
          "A float32 matrix with one row for each image. The names are written to a .txt beside "
          "it, one a line, and images that are left out, with the reasons, to a .left_out.txt")
      ->type_name("FILE.npy")
      ->capture_default_str();
  command->add_flag("--norms", options->norms,
                    "Also write the length of each row to a .norms.npy beside the matrix, one "
                    "float32 a row: a score of the image's quality where the network was trained "
                    "with AdaFace or MagFace");
  options->network.add_options(*command);
  command->footer(
      "Examples:\n"
      "  pfc embed output/best.safetensors photos/ -o photos.npy\n"
      "  pfc embed output/best.safetensors faces/train.rec\n"
      "  mpirun -np 8 pfc embed output/best.safetensors faces/train.rec -o faces.npy\n"
      "  pfc embed output/best.safetensors photos/ -o photos.npy --norms\n"
      "Rows are not normalised. Images that do not decode as 112 x 112\n"
      "are left out. Ranks share the images.");
  command->callback([options] { run_embed(*options); });
}

}  // namespace pfc
