#pragma once

#include <string>
#include <vector>

#include "pfc/train/config.h"

namespace pfc {

/// Whether a run can be taken up again from a checkpoint that was saved under another
/// configuration. Throws Error, naming the first key, where one differs that the plan or the shape
/// of what was saved depends on. Returned is a line "key = now, was then" for each other key that
/// changes results.
std::vector<std::string> require_same_run(const Config& now, const Config& then);

}  // namespace pfc
