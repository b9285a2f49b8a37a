#pragma once

#include <torch/types.h>

#include <string>
#include <utility>
#include <vector>

#include "pfc/model/backbone.h"

namespace pfc {

/// Parameters and buffers by name, in the order of registration.
inline std::vector<std::pair<std::string, torch::Tensor>> state_of(const Backbone& backbone) {
  std::vector<std::pair<std::string, torch::Tensor>> state;
  for (const auto& item : backbone.named_parameters()) state.emplace_back(item.key(), item.value());
  for (const auto& item : backbone.named_buffers()) state.emplace_back(item.key(), item.value());
  return state;
}

inline std::int64_t parameter_count(const Backbone& backbone) {
  std::int64_t count = 0;
  for (const auto& parameter : backbone.parameters()) count += parameter.numel();
  return count;
}

}  // namespace pfc
