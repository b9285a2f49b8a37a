#pragma once

#include <vector>

#include "pfc/base/field.h"
#include "pfc/train/config.h"

namespace pfc {

/// Every key, bound to the values of `config`, in the order they are written.
std::vector<Field> fields(Config& config);

}  // namespace pfc
