#pragma once

#include <vector>

#include "pfc/base/field.h"
#include "pfc/train/config.h"

namespace pfc {

/// All keys in the order in which they are written, bound to the values of `config`.
std::vector<Field> fields(Config& config);

}  // namespace pfc
