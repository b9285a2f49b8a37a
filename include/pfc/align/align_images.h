#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "pfc/align/align.h"
#include "pfc/data/image_source.h"

namespace pfc {

struct AlignImagesOptions {
  std::filesystem::path folder;  ///< what is made
  bool png = false;              ///< else JPEG
  int quality = 95;              ///< of JPEG, 1 to 100
  int threads = 1;
  /// Told from one thread as pictures are done; may throw to stop. The first time, `done` is what
  /// an earlier run had done.
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

struct AlignCounts {
  std::int64_t aligned = 0;
  std::int64_t kept = 0;         ///< of them, those that an earlier run wrote
  std::int64_t not_aligned = 0;  ///< listed in `not_aligned.txt`: name, tab, why
  std::string first_reason;      ///< why the first of those was not, with its name
};

/// Writes the face of each picture, 112 x 112, under the picture's name below `folder`, which grows
/// as `FOLDER.partial` and gets its name at the end; what an interrupted run wrote there is kept.
/// `landmarks_of` is called from several threads and throws Error where it has none. Throws Error
/// where two pictures would become one file, or `folder` is there already, before anything is done.
/// Names are in the list as list_name writes them.
AlignCounts align_images(
    const ImageSource& images,
    const std::function<Landmarks(std::string_view name, const RgbImage& picture)>& landmarks_of,
    const AlignImagesOptions& options);

}  // namespace pfc
