#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/plan/class_identities.h"

namespace pfc {

/// From which saved classes the class centres are taken.
struct ClassMap {
  std::vector<std::int64_t> there;  ///< for each class here its class there, or -1
  std::int64_t unknown = 0;         ///< lines that name an identity without a class, here or there

  bool operator==(const ClassMap&) const = default;
};

/// Matches identities by their names. Throws Error if one set has numbers and the other has names.
ClassMap same_identities(const ClassIdentities& here, const ClassIdentities& there);

/// Parses lines "identity, identity there", one for each class centre that is taken. The two are
/// separated by a tab, otherwise by the first comma, otherwise by spaces. They are numbers of a
/// `.rec` or names of folders, as each set calls its identities. An identity may have been left out
/// of either set; such lines are counted. Empty lines and lines that begin with # are skipped.
/// Throws DataError with the line if it has another form, if a number does not exist in the data,
/// or if an identity comes twice.
ClassMap parse_class_map(std::string_view text, const std::string& name,
                         const ClassIdentities& here, const ClassIdentities& there);

/// Throws what parse_class_map throws for lines of another form, before the sets are known.
void require_class_map(std::string_view text, const std::string& name);

}  // namespace pfc
