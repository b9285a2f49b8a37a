#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/layers.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The batch normalisations that an exporter has folded into a layer: they have the values that
/// match_onnx gives them, and those of no network that was trained or drawn.
std::vector<std::shared_ptr<BatchNorm>> folded_norms(const Backbone& backbone);

/// Gives `norms` of a network the statistics that went away when they were folded. In evaluation
/// such a normalisation is x + bias; in training it would scale what comes to it to a variance of
/// 1, which is another network. With the mean μ and the variance σ² of x, and √(σ² + ε) as its
/// weight and bias + μ as its bias, it is still x + bias in evaluation, and in training nearly so.
/// Both are estimated from the images for which `evaluate` runs the network in evaluation mode.
void measure_norms(const std::vector<std::shared_ptr<BatchNorm>>& norms,
                   const std::function<void()>& evaluate);

}  // namespace pfc
