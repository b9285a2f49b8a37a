#include "train/same_run.h"

#include "pfc/base/error.h"
#include "train/config_fields.h"

namespace pfc {

std::vector<std::string> require_same_run(const Config& now, const Config& then) {
  Config of_now = now, of_then = then;
  const std::vector<Field> after = fields(of_now), before = fields(of_then);
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const std::string value = literal(after[i]), old = literal(before[i]);
    if (value == old || after[i].on_resume == OnResume::kFree) continue;
    const std::string key(after[i].key);
    if (after[i].on_resume == OnResume::kFixed) {
      throw Error(key + " is " + value + ", but the checkpoint's run has " + old +
                  ": a resumed run keeps the value that it began with; to change it, start a new "
                  "run in another output with --set init.from=CHECKPOINT");
    }
    changes.push_back(key + " = " + value + ", was " + old);
  }
  return changes;
}

}  // namespace pfc
