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
  std::filesystem::path folder;  ///< the folder to create
  int size = kFaceSize;          ///< side of a face, in pixels
  bool png = false;              ///< otherwise JPEG
  int quality = 95;              ///< of JPEG, 1 to 100
  int threads = 1;
  /// Called from one thread as pictures are done; may throw to stop. In the first call, `done` is
  /// what an earlier run had finished.
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

struct AlignCounts {
  std::int64_t aligned = 0;
  std::int64_t kept = 0;         ///< those of them that an earlier run wrote
  std::int64_t not_aligned = 0;  ///< listed in `not_aligned.txt`: name, tab, why
  std::string first_reason;      ///< why the first of those failed, with its name
};

/// Writes the face of each picture under the picture's name below `folder`. The folder
/// grows as `FOLDER.partial` and gets its name at the end; what an interrupted run wrote there is
/// kept. `landmarks_of` is called from several threads and throws Error if it has no landmarks.
/// Throws Error, before anything is done, if two pictures would become one file, if `folder`
/// exists, or if an interrupted run wrote faces of another size. The list has names as list_name
/// writes them.
AlignCounts align_images(
    const ImageSource& images,
    const std::function<Landmarks(std::string_view name, const RgbImage& picture)>& landmarks_of,
    const AlignImagesOptions& options);

}  // namespace pfc
