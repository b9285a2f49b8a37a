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

/// Goes over the images of sets with a progress line, until a signal asks it to stop. Unfinished
/// output then leaves nothing under its final name.
class FaceWalk {
 public:
  /// Calls `take` for everything left in `source`. `doing` is the verb of the progress line. What
  /// was skipped is reported at the end, but only once for a set that is read twice. Throws Error
  /// if it was asked to stop.
  void each(FaceSource& source, const std::string& doing,
            const std::function<void(const Face&)>& take);
  void copy(FaceSource& source, FaceSink& sink);

  /// What was copied: "24,792 images of 6,133 identities".
  std::string copied() const;

 private:
  StopRequest stop_;
  std::int64_t images_ = 0, identities_ = 0;
  std::vector<bool> seen_;      ///< identities
  std::set<std::string> told_;  ///< reports about skipped files
};

/// Opens several sets before the first is read, so that an error in the last one is not found after
/// hours.
std::vector<std::unique_ptr<FaceSource>> open_all(const std::vector<std::filesystem::path>& inputs);

/// `OUT/train.rec`, or `out` itself if it is a .rec. Throws Error if the file exists or its folder
/// cannot be created.
std::filesystem::path new_rec(const std::filesystem::path& out);
/// The sink that writes it. Call it after everything that may be refused was checked; creates the
/// folder.
std::unique_ptr<FaceSink> begin_rec(const std::filesystem::path& rec,
                                    std::function<void(const Face&)> on_unreadable = {});
/// Throws Error if the file exists.
void require_new(const std::filesystem::path& path);

}  // namespace pfc
