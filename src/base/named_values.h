#pragma once

#include <string_view>

#include "pfc/base/field.h"

namespace pfc {

/// Reads what toml_table writes; `file` stands for it in messages. Throws DataError.
NamedValues parse_named_values(std::string_view text, std::string_view file);

}  // namespace pfc
