#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>

#include "commands.h"
#include "face_walk.h"
#include "pfc/align/align_images.h"
#include "pfc/align/face_detector.h"
#include "pfc/align/landmark_file.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"

namespace pfc {
namespace {

struct AlignCommand {
  std::filesystem::path images, landmarks, detector;
  std::string detector_size;
  AlignImagesOptions options;
};

using FindLandmarks = std::function<Landmarks(std::string_view name, const RgbImage& picture)>;

/// "640" or "640x480", width by height.
std::optional<ImageSize> size_of(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto number = [&](const char* begin, const char* end) {
    int value = 0;
    const auto [last, error] = std::from_chars(begin, end, value);
    if (error != std::errc{} || last != end || value < 1)
      throw UsageError("--det-size " + printable(text) + ": want a side, 640, or 640x480");
    return value;
  };
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const char* const cross = std::find(begin, end, 'x');
  const int width = number(begin, cross);
  return ImageSize{width, cross == end ? width : number(cross + 1, end)};
}

/// Reports how much of the list fits the pictures. The usual mistake in a list is one folder too
/// many or too few in its names.
void compare(const LandmarkFile& file, const std::filesystem::path& path,
             const ImageSource& images) {
  std::int64_t missing = 0;
  std::string first;
  for (std::int64_t i = 0; i < images.size(); ++i) {
    if (file.contains(images.name(i))) continue;
    if (missing++ == 0) first = images.name(i);
  }
  const std::int64_t found = images.size() - missing;
  if (found == 0) {
    throw Error(path.string() + ": names none of " + counted(images.size(), "picture") +
                "; it has names like " + printable(file.example()) +
                ", and the pictures have names like " + printable(first) + ", below IMAGES");
  }
  std::string said = path.string() + ": read as \"" + file.reading_text() + "\"; names " +
                     grouped(found) + " of " + counted(images.size(), "picture");
  if (missing > 0) said += ", and not " + printable(first);
  if (const std::int64_t others = file.size() - found; others > 0)
    said += "; of its pictures " + grouped(others) + (others == 1 ? " is" : " are") + " not there";
  tell(said);
}

FindLandmarks landmarks_in(const std::filesystem::path& path, const ImageSource& images) {
  const auto file = std::make_shared<LandmarkFile>(LandmarkFile::open(path));
  compare(*file, path, images);
  return [file](std::string_view name, const RgbImage& picture) {
    const auto found = file->find(name, {picture.width, picture.height});
    if (!found) throw Error("no landmarks");
    return *found;
  };
}

FindLandmarks landmarks_by(std::shared_ptr<FaceDetector> detector) {
  return [detector = std::move(detector)](std::string_view, const RgbImage& picture) {
    const auto faces = detector->detect(picture);
    if (faces.empty()) throw Error("no face was found");
    return main_face(faces, {picture.width, picture.height}).landmarks;
  };
}

void require_possible(const AlignCommand& command) {
  if (command.landmarks.empty() == command.detector.empty()) {
    throw UsageError(
        "want --landmarks FILE with five points for each picture, or --detector MODEL.onnx, an "
        "SCRFD network that finds them");
  }
  if (!command.landmarks.empty() && !command.detector_size.empty())
    throw UsageError("--det-size needs --detector");
  require_new(command.options.folder);
  // Otherwise the next run would take this run's faces as pictures.
  const auto inside = std::filesystem::weakly_canonical(command.options.folder)
                          .lexically_relative(std::filesystem::weakly_canonical(command.images));
  if (!inside.empty() && *inside.begin() != "..") {
    throw Error(command.options.folder.string() + " lies in " + command.images.string() +
                ", the folder of the pictures; choose a folder outside it");
  }
}

void run_align(AlignCommand command) {
  require_writable_folder(command.options.folder);
  require_possible(command);
  std::shared_ptr<FaceDetector> detector;
  if (!command.detector.empty())
    detector = std::make_shared<FaceDetector>(command.detector, size_of(command.detector_size));
  const auto images = open_images(command.images);
  if (const std::string what = images->passed_over(); !what.empty()) tell("passed over: " + what);
  const FindLandmarks find =
      detector ? landmarks_by(detector) : landmarks_in(command.landmarks, *images);
  std::optional<ProgressLine> line;
  const StopRequest stop;
  AlignImagesOptions& options = command.options;
  options.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.progress = [&](std::int64_t done, std::int64_t total) {
    if (stop.made()) throw Error("stopped; run the same command to continue");
    if (!line) line.emplace(total, done);
    if (line->due(done)) line->show(done, grouped(done) + " of " + counted(total, "picture"));
  };
  const AlignCounts counts = align_images(*images, find, options);
  line.reset();
  std::cout << options.folder.string() << ": " << counted(counts.aligned, "face");
  if (counts.kept > 0) std::cout << ", " << grouped(counts.kept) << " of them by an earlier run";
  std::cout << "\n";
  if (counts.not_aligned > 0) {
    std::cout << counted(counts.not_aligned, "picture")
              << (counts.not_aligned == 1 ? " was" : " were")
              << " not aligned: " << (options.folder / "not_aligned.txt").string()
              << " says why, the first: " << printable_line(counts.first_reason) << "\n";
  }
}

}  // namespace

void add_data_align(CLI::App& data) {
  CLI::App* command =
      data.add_subcommand("align", "Turn photos and five landmarks into aligned faces");
  const auto options = std::make_shared<AlignCommand>();
  command->add_option("IMAGES", options->images, "A folder of photos, usually with folders in it")
      ->required()
      ->type_name("FOLDER");
  command->add_option("-o,--output", options->options.folder, "The folder to create")
      ->required()
      ->type_name("FOLDER");
  command
      ->add_option("--landmarks", options->landmarks,
                   "Lines \"NAME X1 Y1 … X5 Y5\" (left eye, right eye, nose, left and right corner "
                   "of the mouth), or JSON {\"NAME\": [[X1, Y1], …]}; names are paths below "
                   "IMAGES. Other forms are recognised too, by which reading looks like faces: "
                   "with labels, boxes and scores, X1 … X5 Y1 … Y5, the right eye first, fractions "
                   "of the sides, 68 points. A whole list has one form")
      ->type_name("FILE");
  command
      ->add_option("--detector", options->detector,
                   "Instead of landmarks: an SCRFD network with key points as InsightFace "
                   "distributes them (det_10g.onnx, scrfd_2.5g_bnkps.onnx). If a picture has "
                   "several faces, a large one near the middle is taken")
      ->type_name("ONNX");
  command
      ->add_option("--det-size", options->detector_size,
                   "The detector's input size, if its file does not fix it: a side or "
                   "WIDTHxHEIGHT, in multiples of 32 (of 128 if the detector has 15 outputs). "
                   "Default 640; 320 is four times as fast and finds no small faces")
      ->type_name("SIZE");
  command
      ->add_option("--size", options->options.size,
                   "Side of a face, in pixels. The networks here want 112; training resizes others "
                   "with data.resize=true")
      ->check(CLI::Range(16, 4096))
      ->capture_default_str();
  command->add_flag("--png", options->options.png, "PNG files instead of JPEG");
  command->add_option("--quality", options->options.quality, "Quality of JPEG files")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->footer(
      "The face of a picture gets the picture's name. After an interruption, run the same command "
      "to continue.\n\n"
      "Examples:\n"
      "  pfc data align photos --landmarks landmarks.txt -o faces\n"
      "  pfc data align photos --detector scrfd_10g_bnkps.onnx -o faces");
  command->callback([options] { run_align(*options); });
}

}  // namespace pfc
