#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "face_walk.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"
#include "pfc/data/resize_image.h"
#include "pfc/data/verification_set.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct ResizeCommand {
  fs::path input, output;
  ResizeOptions options;
};

std::string what_they_are(const ResizeOptions& options) {
  const std::string side = std::to_string(options.size);
  return side + " x " + side + (options.back ? " and back" : "") + "\n";
}

/// Of a pair no image may be missing: the protocol's folds would change.
void resize_pairs(const ResizeCommand& command) {
  if (command.output.extension() != ".bin")
    throw UsageError("OUT wants a name that ends in .bin, as INPUT's does");
  require_new(command.output);
  require_writable(command.output);
  const VerificationSet set = VerificationSet::open(command.input);
  VerificationSetWriter writer(command.output);
  const auto image = [&](std::int64_t i) {
    try {
      return resize_image(set.image(i), command.options);
    } catch (const Error& error) {
      throw DataError(command.input.string(), "image " + std::to_string(i), error.what());
    }
  };
  const StopRequest stop;
  ProgressLine line(set.pairs());
  for (std::int64_t pair = 0; pair < set.pairs(); ++pair) {
    if (stop.made()) throw Error("stopped; the same command starts again from the beginning");
    writer.add(image(2 * pair), image(2 * pair + 1), set.same(pair));
    if (line.due(pair + 1))
      line.show(pair + 1, grouped(pair + 1) + " of " + counted(set.pairs(), "pair"));
  }
  writer.commit();
  std::cout << command.output.string() << ": " << counted(set.pairs(), "pair") << ", "
            << what_they_are(command.options);
}

void resize_faces(const ResizeCommand& command) {
  const fs::path rec = new_rec(command.output);
  const auto source = open_faces(command.input);
  const auto sink = begin_rec(rec);
  std::vector<std::byte> bytes;
  std::int64_t images = 0, left_out = 0;
  std::string first;
  FaceWalk().each(*source, "resizing", [&](const Face& face) {
    try {
      bytes = resize_image(face.image, command.options);
    } catch (const Error& error) {
      if (left_out++ == 0) first = printable(face.name) + ": " + error.what();
      return;
    }
    sink->add({face.identity, face.name, bytes});
    ++images;
  });
  if (images == 0) throw Error("no image of " + command.input.string() + " is left: " + first);
  sink->commit();
  std::cout << rec.string() << ": " << counted(images, "image") << ", "
            << what_they_are(command.options);
  if (left_out > 0) std::cout << counted(left_out, "image") << " left out, " << first << "\n";
}

void run_resize(const ResizeCommand& command) {
  require_other(command.input, command.output);
  if (command.input.extension() == ".bin") {
    resize_pairs(command);
  } else {
    resize_faces(command);
  }
}

}  // namespace

void add_data_resize(CLI::App& data) {
  CLI::App* command = data.add_subcommand(
      "resize", "Make faces smaller or larger, or show what is left of them at a low resolution");
  const auto options = std::make_shared<ResizeCommand>();
  command
      ->add_option("INPUT", options->input,
                   "A .rec, .lst, .tar or folder of square faces, or a verification set, .bin")
      ->required()
      ->type_name("INPUT");
  command->add_option("-o,--output", options->output, "The .rec, or its folder; a .bin for a .bin")
      ->required()
      ->type_name("OUT");
  command->add_option("--size", options->options.size, "Side of a face, in pixels")
      ->check(CLI::Range(4, 4096))
      ->capture_default_str();
  command->add_flag("--back", options->options.back,
                    "And back to the size that the face had: it is then as sharp as if it had been "
                    "seen at --size");
  command->add_flag("--png", options->options.png, "PNG files instead of JPEG");
  command->add_option("--quality", options->options.quality, "Quality of JPEG files")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->footer(
      "Smaller: each pixel is the mean of what it covers. Larger: bicubic.\n\n"
      "Examples:\n"
      "  pfc data resize faces_224 -o faces_112\n"
      "  pfc data resize lfw.bin -o lfw_28.bin --size 28 --back --png");
  command->callback([options] { run_resize(*options); });
}

}  // namespace pfc
