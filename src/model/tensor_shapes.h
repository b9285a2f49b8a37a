#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/model/backbone_file.h"
#include "pfc/model/network.h"

namespace pfc {

/// Nothing if there is no such tensor or axis.
inline std::optional<std::int64_t> extent(const TensorShapes& tensors, const std::string& name,
                                          std::size_t axis) {
  const auto found = tensors.find(name);
  if (found == tensors.end() || found->second.size() <= axis) return std::nullopt;
  return found->second[axis];
}

/// Whether there are exactly `count` names of the form `before` 0 `after`, `before` 1 `after`, …
inline bool has_numbered(const TensorShapes& tensors, const std::string& before, std::int64_t count,
                         const std::string& after) {
  return tensors.contains(before + std::to_string(count - 1) + after) &&
         !tensors.contains(before + std::to_string(count) + after);
}

/// The network of make_backbone that such tensors belong to. If several differ only in training,
/// `likely` or the first one.
std::optional<BackboneName> recognise_network(const TensorShapes& tensors, std::string_view likely);

}  // namespace pfc
