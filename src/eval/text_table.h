#pragma once

#include <string>
#include <vector>

namespace pfc {

/// Aligned columns for a terminal: the first column to the left, the others to the right.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace pfc
