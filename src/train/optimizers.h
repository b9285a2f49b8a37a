#pragma once

#include <memory>

#include "pfc/train/backbone_optimizer.h"

namespace pfc {

// Each optimizer is one file, and a line in backbone_optimizer.cpp.

std::unique_ptr<BackboneOptimizer> make_sgd(const BackboneOptimizer::Parameters& parameters,
                                            const BackboneOptimizerOptions& options);
std::unique_ptr<BackboneOptimizer> make_adamw(const BackboneOptimizer::Parameters& parameters,
                                              const BackboneOptimizerOptions& options);

}  // namespace pfc
