#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "pfc/data/face_stream.h"

namespace pfc {

/// An image that does not decode.
struct BrokenImage {
  std::int64_t identity = 0;
  std::string name;
  std::string reason;
};

/// Decodes every image of a set, on `threads` threads, and tells of those that do not, in order.
/// `progress` is told of each image and may throw to stop.
void check_images(FaceSource& source, int threads,
                  const std::function<void(const BrokenImage&)>& on_broken,
                  const std::function<void(StreamProgress, std::int64_t images)>& progress);

}  // namespace pfc
