#include "face_copy.h"

#include <chrono>
#include <iostream>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {

std::string Copied::text() const {
  return grouped(images) + " images of " + grouped(identities) + " identities";
}

void FaceCopy::all(FaceSource& source, FaceSink& sink) {
  using Clock = std::chrono::steady_clock;
  ProgressLine line(source.progress().total);
  const auto start = Clock::now();
  const std::int64_t before = copied_.images;
  for (Face face; source.next(face);) {
    if (stop_.made()) throw Error("stopped; the same command begins again");
    sink.add(face);
    ++copied_.images;
    const auto identity = static_cast<std::size_t>(face.identity);
    if (identity >= seen_.size()) seen_.resize(identity + 1);
    if (!seen_[identity]) ++copied_.identities;
    seen_[identity] = true;
    const StreamProgress progress = source.progress();
    if (!line.due(progress.done)) continue;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    line.show(progress.done,
              grouped(copied_.images) + " images, " +
                  grouped(static_cast<std::int64_t>(static_cast<double>(copied_.images - before) /
                                                    std::max(seconds, 1e-3))) +
                  " images/s");
  }
  if (const std::string what = source.passed_over(); !what.empty())
    line.note("passed over: " + what);
}

}  // namespace pfc
