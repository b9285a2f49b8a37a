#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/comm/placement.h"
#include "pfc/data/dataset.h"
#include "pfc/head/partial_fc.h"
#include "pfc/model/backbone.h"
#include "pfc/plan/sampler.h"
#include "pfc/train/config.h"
#include "train/device.h"

namespace pfc {

// The lines that a run prints on stderr before its first step.

void announce_device(const Config& config, const ComputeOn& place, const Communicator& comm);
/// Prints how many parameters train if not all of them do.
void announce_network(const Config& config, const Backbone& backbone);
void announce_ranks(const Placement& place, const Communicator& comm);
void announce_dataset(const Config& config, const Dataset& dataset);
/// Adds a note if the batch's own identities leave hardly any negatives.
void announce_head(const Config& config, const ClassSampler& sampler);
/// Prints a note if there will be no room for the first checkpoint.
void announce_room(const Config& config, const Backbone& backbone, const PartialFc& head,
                   std::int64_t identities);

}  // namespace pfc
