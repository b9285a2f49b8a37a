#include "face_walk.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/paths.h"
#include "pfc/base/progress.h"

namespace pfc {

void FaceWalk::each(FaceSource& source, const std::string& doing,
                    const std::function<void(const Face&)>& take) {
  using Clock = std::chrono::steady_clock;
  const std::int64_t total = source.progress().total;
  ProgressLine line(total);
  const auto start = Clock::now();
  std::int64_t images = 0;
  const auto show = [&](std::int64_t done) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds < 1) return;  // quick work needs no line
    const double rate = static_cast<double>(images) / seconds;
    line.show(done, doing + ": " + counted(images, "image") + ", " +
                        grouped(static_cast<std::int64_t>(rate)) + " images/s");
  };
  for (Face face; source.next(face);) {
    if (stop_.made()) throw Error("stopped; the same command starts again from the beginning");
    take(face);
    ++images;
    // The end is only reported when nothing follows: a source has read its last byte before it
    // gives its last image.
    const std::int64_t done = std::min(source.progress().done, total - 1);
    if (line.due(done)) show(done);
  }
  show(total);
  const std::string what = source.passed_over();
  if (!what.empty() && told_.insert(what).second) line.note("passed over: " + what);
}

void FaceWalk::copy(FaceSource& source, FaceSink& sink) {
  each(source, "copying", [&](const Face& face) {
    sink.add(face);
    ++images_;
    const auto identity = static_cast<std::size_t>(face.identity);
    if (identity >= seen_.size()) seen_.resize(identity + 1);
    if (!seen_[identity]) ++identities_;
    seen_[identity] = true;
  });
}

std::string FaceWalk::copied() const {
  return counted(images_, "image") + " of " + counted(identities_, "identity");
}

std::vector<std::unique_ptr<FaceSource>> open_all(
    const std::vector<std::filesystem::path>& inputs) {
  std::vector<std::unique_ptr<FaceSource>> sources;
  for (const std::filesystem::path& input : inputs) sources.push_back(open_faces(input));
  return sources;
}

std::filesystem::path new_rec(const std::filesystem::path& out) {
  std::filesystem::path rec = out.extension() == ".rec" ? out : out / "train.rec";
  require_new(rec);
  require_writable_folder(rec.parent_path());
  return rec;
}

std::unique_ptr<FaceSink> begin_rec(const std::filesystem::path& rec,
                                    std::function<void(const Face&)> on_unreadable) {
  if (rec.has_parent_path()) std::filesystem::create_directories(rec.parent_path());
  return make_rec_sink(rec, std::move(on_unreadable));
}

void require_new(const std::filesystem::path& path) {
  if (is_there(path))
    throw Error(path.string() + " is there already; name another, or remove it first");
}

}  // namespace pfc
