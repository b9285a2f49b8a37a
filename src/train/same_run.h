#pragma once

#include <string>
#include <vector>

#include "pfc/train/config.h"

namespace pfc {

/// Checks whether a run can be resumed from a checkpoint that was saved under another
/// configuration. Throws Error, naming the first key, if a key differs on which the plan or the
/// shape of the saved data depends. Returns a line "key = now, was then" for each other key that
/// changes results.
std::vector<std::string> require_same_run(const Config& now, const Config& then);

}  // namespace pfc
