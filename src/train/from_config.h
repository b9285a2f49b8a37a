#pragma once

#include <memory>

#include "pfc/comm/communicator.h"
#include "pfc/comm/placement.h"
#include "pfc/data/loader.h"
#include "pfc/head/partial_fc.h"
#include "pfc/model/backbone.h"
#include "pfc/plan/sampler.h"
#include "pfc/plan/step_plan.h"
#include "pfc/train/backbone_optimizer.h"
#include "pfc/train/config.h"

namespace pfc {

PartialFcOptions head_options(const Config& config, at::Device device);

StepPlannerOptions planner_options(const Config& config);

LoaderOptions loader_options(const Config& config, const Placement& place);

/// What make_backbone is given.
NamedValues network_options(const Config::Model& model);

/// Makes the network. If the run is not resumed, it gets its initial weights (start_network).
std::shared_ptr<Backbone> make_network(const Config& config, at::Device device, bool is_resumed,
                                       Communicator& comm);

/// Throws Error if it does not fit into memory. All ranks call it together.
PartialFc make_head(const Config& config, at::Device device, const ClassSampler& sampler,
                    const Placement& place, Communicator& comm);

std::unique_ptr<BackboneOptimizer> make_optimizer(const Config& config, const Backbone& backbone);

}  // namespace pfc
