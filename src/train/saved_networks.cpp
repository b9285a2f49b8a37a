#include "train/saved_networks.h"

#include "comm/first_failure.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"
#include "pfc/base/progress.h"
#include "pfc/comm/long_work.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

constexpr const char *kLast = "last.safetensors", *kBest = "best.safetensors";

}  // namespace

void SavedNetworks::save(const Backbone& backbone, bool is_best) {
  long_work(comm_, [&] {
    if (!comm_.is_first()) return;
    write(backbone, kLast);
    if (is_best) write(backbone, kBest);
  });
}

void SavedNetworks::save_without_checkpoint(const Backbone& backbone, std::string failure,
                                            std::int64_t step, std::int64_t resumes_after) {
  failure += "; step " + grouped(step) + " has no checkpoint";
  std::string also;
  long_work(comm_, [&] {
    try {
      if (comm_.is_first()) write(backbone, kLast);
    } catch (const Error& error) {
      also = error.what();
    }
  });
  // All wait for the first one: who throws alone ends it before it has written.
  if (const auto failed = first_failure(also, comm_)) {
    failure += ", nor is its network saved: " + failed->sentence;
  } else {
    failure += ", its network is saved as " + (output_ / kLast).string();
  }
  if (resumes_after > 0) failure += "; --resume goes on from step " + grouped(resumes_after);
  throw Error(failure);
}

void SavedNetworks::set_best_aside(std::int64_t step) {
  const std::filesystem::path best = output_ / kBest;
  const std::filesystem::path aside =
      output_ / format("best-until-step-%lld.safetensors", static_cast<long long>(step));
  // A run that was ended before its next checkpoint comes here again: the first one was the best.
  if (!comm_.is_first() || !is_there(best) || is_there(aside)) return;
  rename_durably(best, aside);
  tell(
      "the first of eval.sets is another set than before: the best network is chosen anew, the "
      "one so far is now " +
      aside.string());
}

void SavedNetworks::write(const Backbone& backbone, const char* name) const {
  save_backbone(backbone, model_.network, model_.embedding_size, output_ / name);
}

}  // namespace pfc
