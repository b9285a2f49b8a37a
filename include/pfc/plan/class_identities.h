#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pfc {

/// What the data call each class of a set. Classes are numbered from 0 without gaps, so a class's
/// number depends on what was left out: identities with few images, images that do not decode. Its
/// identity does not: that is its label in the `.rec`, or the name of its folder.
struct ClassIdentities {
  std::int64_t classes = 0;
  /// [classes] labels, all different. Empty if class i is identity i, or if `names` are used.
  std::vector<std::int32_t> numbers = {};
  /// Every label of the data, including those left out, is below this. Only used with numbers.
  std::int64_t below = classes;
  /// [classes] folders below that of the set, all different. Folders `id_NUMBER`, as `pfc data
  /// unpack` makes them, count as numbers.
  std::vector<std::string> names = {};

  bool have_names() const { return !names.empty(); }
  /// Whether class i is identity i.
  bool are_classes() const { return numbers.empty() && names.empty(); }

  bool operator==(const ClassIdentities&) const = default;
};

}  // namespace pfc
