#pragma once

#include <memory>
#include <string_view>

#include "pfc/train/backbone_optimizer.h"

// Each optimizer is a file of its name here.

namespace pfc {

using MakeOptimizer = std::unique_ptr<BackboneOptimizer>(
    const BackboneOptimizer::Parameters& parameters, const BackboneOptimizerOptions& options);

MakeOptimizer make_sgd;
MakeOptimizer make_adamw;

/// By the names that configurations use.
inline constexpr struct {
  std::string_view name;
  MakeOptimizer* make;
} kBuiltInOptimizers[] = {
    {"sgd", make_sgd},
    {"adamw", make_adamw},
};

}  // namespace pfc
