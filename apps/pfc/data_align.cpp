#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>

#include "commands.h"
#include "pfc/align/align_images.h"
#include "pfc/align/face_detector.h"
#include "pfc/align/landmark_file.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"

namespace pfc {
namespace {

struct AlignCommand {
  std::filesystem::path images, landmarks, detector;
  AlignImagesOptions options;
};

using FindLandmarks = std::function<Landmarks(std::string_view name, const RgbImage& picture)>;

FindLandmarks landmarks_in(const std::filesystem::path& path) {
  return [file = std::make_shared<LandmarkFile>(LandmarkFile::open(path))](std::string_view name,
                                                                           const RgbImage&) {
    const auto found = file->find(name);
    if (!found) throw Error("no landmarks");
    return *found;
  };
}

FindLandmarks landmarks_by(const std::filesystem::path& onnx) {
  return
      [detector = std::make_shared<FaceDetector>(onnx)](std::string_view, const RgbImage& picture) {
        const auto faces = detector->detect(picture);
        if (faces.empty()) throw Error("no face was found");
        return main_face(faces, {picture.width, picture.height}).landmarks;
      };
}

FindLandmarks find_landmarks(const AlignCommand& command) {
  if (command.landmarks.empty() == command.detector.empty()) {
    throw UsageError(
        "want --landmarks FILE with five points a picture, or --detector MODEL.onnx, an SCRFD that "
        "finds them");
  }
  return command.detector.empty() ? landmarks_in(command.landmarks)
                                  : landmarks_by(command.detector);
}

void run_align(AlignCommand command) {
  const FindLandmarks find = find_landmarks(command);
  const auto images = open_images(command.images);
  ProgressLine line(images->size());
  const StopRequest stop;
  AlignImagesOptions& options = command.options;
  options.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.progress = [&](std::int64_t done, std::int64_t total) {
    if (stop.made()) throw Error("stopped; the same command goes on");
    if (line.due(done)) line.show(done, grouped(done) + " of " + grouped(total) + " pictures");
  };
  const AlignCounts counts = align_images(*images, find, options);
  std::cout << options.folder.string() << ": " << grouped(counts.aligned) << " faces";
  if (counts.kept > 0) std::cout << ", " << grouped(counts.kept) << " of them by an earlier run";
  std::cout << "\n";
  if (counts.not_aligned > 0) {
    std::cout << grouped(counts.not_aligned)
              << " pictures were not aligned: " << (options.folder / "not_aligned.txt").string()
              << " says why\n";
  }
}

}  // namespace

void add_data_align(CLI::App& data) {
  CLI::App* command =
      data.add_subcommand("align", "Photos and five landmarks into faces of 112 x 112");
  const auto options = std::make_shared<AlignCommand>();
  command->add_option("IMAGES", options->images, "A folder, with folders in it as a rule")
      ->required()
      ->type_name("FOLDER");
  command->add_option("-o,--output", options->options.folder, "The folder that is made")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--landmarks", options->landmarks,
                   "Lines \"NAME X1 Y1 … X5 Y5\" (left eye, right eye, nose, left and right corner "
                   "of the mouth; more columns may follow, as in IJB's lists), or JSON "
                   "{\"NAME\": [[X1, Y1], …]}; names are paths below IMAGES")
      ->type_name("FILE");
  command
      ->add_option("--detector", options->detector,
                   "Instead of landmarks: an SCRFD network with key points, ONNX with an input of "
                   "640 x 640, as InsightFace distributes them; of several faces it takes a large "
                   "one near the middle")
      ->type_name("ONNX");
  command->add_flag("--png", options->options.png, "PNG files instead of JPEG");
  command->add_option("--quality", options->options.quality, "Of JPEG files")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->footer(
      "Every picture gets its face's file under its own name. Run again after an interruption, it "
      "goes on.\n\n"
      "Examples:\n"
      "  pfc data align photos --landmarks landmarks.txt -o faces\n"
      "  pfc data align photos --detector scrfd_10g_bnkps.onnx -o faces");
  command->callback([options] { run_align(*options); });
}

}  // namespace pfc
