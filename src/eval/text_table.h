#pragma once

#include <string>
#include <vector>

namespace pfc {

/// Lines of aligned columns, the first to the left and the others to the right, for a terminal.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace pfc
