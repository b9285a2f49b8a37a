#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pfc/base/stop_request.h"
#include "pfc/data/face_stream.h"

namespace pfc {

/// Goes over the images of sets under a progress line, until a signal asks to stop; what is begun
/// then leaves nothing under a final name.
class FaceWalk {
 public:
  /// Everything that is left of `source`. `doing` is what the line says of it. What was passed over
  /// is told at the end, once for a set that is gone over twice. Throws Error where it was asked to
  /// stop.
  void each(FaceSource& source, const std::string& doing,
            const std::function<void(const Face&)>& take);
  void copy(FaceSource& source, FaceSink& sink);

  /// What was copied: "24,792 images of 6,133 identities".
  std::string copied() const;

 private:
  StopRequest stop_;
  std::int64_t images_ = 0, identities_ = 0;
  std::vector<bool> seen_;      ///< identities
  std::set<std::string> told_;  ///< what was passed over
};

/// Several sets, opened before the first is read: what is wrong with the last one is not told after
/// hours.
std::vector<std::unique_ptr<FaceSource>> open_all(const std::vector<std::filesystem::path>& inputs);

/// `OUT/train.rec` where `out` is not a .rec itself. Throws Error where the file is there already
/// or its folder cannot be made.
std::filesystem::path new_rec(const std::filesystem::path& out);
/// What it is written by, when all that can be refused has been; its folder is made.
std::unique_ptr<FaceSink> begin_rec(const std::filesystem::path& rec,
                                    std::function<void(const Face&)> on_unreadable = {});
/// Throws Error where the file is there already.
void require_new(const std::filesystem::path& path);

}  // namespace pfc
