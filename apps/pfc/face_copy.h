#pragma once

#include <cstdint>
#include <string>

#include "pfc/base/progress.h"
#include "pfc/base/stop_request.h"
#include "pfc/data/face_stream.h"

namespace pfc {

/// What went through.
struct Copied {
  std::int64_t images = 0, identities = 0;
  std::string text() const;  ///< "24,792 images of 6,133 identities"
};

/// Copies images under a progress line, until a signal asks to stop; what is begun then leaves
/// nothing under a final name.
class FaceCopy {
 public:
  /// Everything that is left of `source`. Throws Error where it was asked to stop.
  void all(FaceSource& source, FaceSink& sink);
  const Copied& copied() const { return copied_; }

 private:
  StopRequest stop_;
  Copied copied_;
  std::vector<bool> seen_;  ///< identities
};

}  // namespace pfc
