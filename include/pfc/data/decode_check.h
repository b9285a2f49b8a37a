#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pfc/data/face_stream.h"
#include "pfc/data/image_source.h"

namespace pfc {

/// An image that does not decode.
struct BrokenImage {
  std::int64_t identity = 0;
  std::string name;
  std::string reason;
};

/// Decodes every image of a set on `threads` threads and reports those that do not decode, in
/// order. `progress` is called for each image and may throw to stop.
void check_images(FaceSource& source, int threads,
                  const std::function<void(const BrokenImage&)>& on_broken,
                  const std::function<void(StreamProgress, std::int64_t images)>& progress);

/// An image that gives no face.
struct BrokenFace {
  std::int64_t image = 0;
  std::string reason;
};

/// Tries the images [begin, end) of a source on `threads` threads and returns those that give no
/// face, in order. `progress` is called for each image.
std::vector<BrokenFace> check_faces(const ImageSource& images, std::int64_t begin, std::int64_t end,
                                    int threads,
                                    const std::function<void(std::int64_t done)>& progress);

}  // namespace pfc
