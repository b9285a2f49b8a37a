#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/plan/class_identities.h"

namespace pfc {

/// Where class centres are taken from.
struct ClassMap {
  std::vector<std::int64_t> there;  ///< for each class here its class there, or -1
  std::int64_t unknown = 0;         ///< lines that name an identity without a class, here or there

  bool operator==(const ClassMap&) const = default;
};

/// Identities are what they are called. Throws Error where one set calls them by numbers and the
/// other one by names.
ClassMap same_identities(const ClassIdentities& here, const ClassIdentities& there);

/// The text has a line "identity, identity there" for each that is taken, separated by a tab, else
/// by the first comma, else by spaces: numbers of a `.rec` or names of folders, as the set calls
/// its own. An identity may have been left out of either set, whatever its classes are; such lines
/// are counted. Lines that are empty or begin with # count nowhere. Throws DataError with the line
/// where it is something else, a number is none of the data's, or an identity comes twice.
ClassMap parse_class_map(std::string_view text, const std::string& name,
                         const ClassIdentities& here, const ClassIdentities& there);

/// What parse_class_map throws of a text whose lines have another form, before the sets are known.
void require_class_map(std::string_view text, const std::string& name);

}  // namespace pfc
