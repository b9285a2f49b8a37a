#include "train/same_run.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "pfc/base/error.h"
#include "train/config_fields.h"

namespace pfc {
namespace {

/// The plan, and the shapes and types of what was saved.
constexpr std::array<std::string_view, 13> kFixed = {
    "data.min_images", "data.mirror",          "data.shuffle_window",
    "model.network",   "model.embedding_size", "model.freeze",
    "head.update",     "head.center_type",     "head.state_type",
    "optimizer.kind",  "optimizer.momentum",   "train.batch_size",
    "train.seed"};

/// Where things lie and how fast they are made. The training set is compared by what is in it.
constexpr std::array<std::string_view, 9> kFree = {
    "output",        "data.train",    "data.cache_dir", "data.workers",      "data.prefetch",
    "train.threads", "train.timeout", "train.device",   "head.center_memory"};
constexpr std::array<std::string_view, 4> kFreeSections = {"init.", "eval.", "checkpoint.", "log."};

bool is_free(const Field& field) {
  return std::ranges::count(kFree, field.key) > 0 ||
         std::ranges::count(kFreeSections, field.section()) > 0;
}

}  // namespace

std::vector<std::string> require_same_run(const Config& now, const Config& then) {
  Config of_now = now, of_then = then;
  const std::vector<Field> after = fields(of_now), before = fields(of_then);
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const std::string value = literal(after[i]), old = literal(before[i]);
    if (value == old || is_free(after[i])) continue;
    const std::string key(after[i].key);
    if (std::ranges::count(kFixed, after[i].key) > 0) {
      throw Error(key + " is " + value + ", but the checkpoint's run has " + old +
                  ": a resumed run goes on with what it began with; for another one, name another "
                  "output and --set init.from=CHECKPOINT");
    }
    changes.push_back(key + " = " + value + ", was " + old);
  }
  return changes;
}

}  // namespace pfc
