#include "train/evaluation.h"

#include <ATen/Parallel.h>

#include "base/fingerprint.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/comm/long_work.h"
#include "pfc/data/decode_check.h"
#include "pfc/data/image_source.h"
#include "pfc/eval/embedder.h"
#include "pfc/eval/roc_svg.h"

namespace pfc {
namespace {

std::uint64_t fingerprint(const VerificationSet& set) {
  Fingerprint fingerprint;
  for (std::int64_t pair = 0; pair < set.pairs(); ++pair) {
    fingerprint.add(set.same(pair) ? 1u : 0u);
    for (const std::int64_t image : {2 * pair, 2 * pair + 1}) {
      const auto bytes = set.image(image);
      fingerprint.add(static_cast<std::uint32_t>(bytes.size()));
      fingerprint.add({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
  }
  return fingerprint.value();
}

/// Each rank checks a share of the images; the rank that finds an error throws.
void require_evaluable(const VerificationSet& set, const Communicator& comm) {
  require_pairs(set);
  const auto images = images_of_pairs(set);
  const std::int64_t n = images->size();
  const auto broken =
      check_faces(*images, n * comm.rank() / comm.world(), n * (comm.rank() + 1) / comm.world(),
                  at::get_num_threads(), [](std::int64_t) {});
  if (broken.empty()) return;
  throw DataError(set.name(), images->name(broken.front().image), broken.front().reason);
}

}  // namespace

Evaluation::Evaluation(const std::vector<std::string>& paths, Communicator& comm) {
  long_work(comm, [&] {
    for (const std::string& path : paths) sets_.push_back(VerificationSet::open(path));
    for (const VerificationSet& set : sets_) require_evaluable(set, comm);
    if (!sets_.empty()) first_set_ = static_cast<std::int64_t>(fingerprint(sets_.front()));
  });
}

void Evaluation::add_to(RunState& state) {
  state.add("best_accuracy", best_, {.least = -1});
  state.add("best_on", best_on_, {.is_optional = true});
}

bool Evaluation::drop_best_of_another_set(bool same_name) {
  constexpr std::int64_t kNoSet = 1;  // not the fingerprint of any set
  if (best_on_ == 0 && !same_name) best_on_ = kNoSet;
  // Without sets the best is kept for a time when the run has them again.
  if (sets_.empty() || best_on_ == 0 || best_on_ == first_set_) return false;
  const bool had_one = best_ >= 0;
  best_ = -1;
  return had_one;
}

const std::vector<VerificationResult>& Evaluation::run(Backbone& backbone, std::int64_t step,
                                                       ProgressLine& progress, Communicator& comm) {
  // Each rank has its own running statistics of batch normalisation; those of the first rank are
  // saved.
  for (at::Tensor& buffer : backbone.buffers()) comm.broadcast(buffer).wait();
  results_.clear();
  for (const VerificationSet& set : sets_) {
    // The run's own line counts steps; this one counts images.
    ProgressLine line(2 * set.pairs(), 0, !comm.is_first());
    const auto show = [&](std::int64_t done, std::int64_t total) {
      line.show(done, "evaluating on " + set.name() + ": " + grouped(done) + " of " +
                          counted(total, "image"));
    };
    const PairEmbeddings embeddings = embed_pairs(backbone, set, {.progress = show}, comm);
    long_work(comm, [&] {
      if (comm.is_first()) results_.push_back(verify(embeddings));
    });
    if (!comm.is_first()) continue;
    const VerificationResult& result = results_.back();
    progress.note(format("step %lld  %s: accuracy %.2f%% ± %.2f, TAR %.2f%% at FAR 1e-2",
                         static_cast<long long>(step), result.set.c_str(), 100 * result.accuracy,
                         100 * result.accuracy_deviation, 100 * result.roc.at(1e-2).tar));
  }
  is_best_ = !results_.empty() && results_.front().accuracy > best_;
  if (is_best_) best_ = results_.front().accuracy;
  if (!sets_.empty()) best_on_ = first_set_;
  return results_;
}

void Evaluation::write_roc(const std::filesystem::path& path) const {
  std::vector<RocCurve> curves;
  for (const VerificationResult& result : results_) curves.push_back({result.set, result.roc});
  if (!curves.empty()) write_file(path, roc_svg("Verification", curves));
}

}  // namespace pfc
