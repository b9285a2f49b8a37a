#include "base/edit_distance.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace pfc {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row = {0};
  while (row.size() <= b.size()) row.push_back(row.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace pfc
