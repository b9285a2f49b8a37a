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

// What a run says on stderr before its first step, a line each.

void announce_device(const Config& config, const ComputeOn& place, const Communicator& comm);
void announce_ranks(const Placement& place, const Communicator& comm);
void announce_dataset(const Config& config, const Dataset& dataset);
/// With a note where the batch's own identities leave hardly any negatives.
void announce_head(const Config& config, const ClassSampler& sampler);
/// A note where the first checkpoint will find no room.
void announce_room(const Config& config, const Backbone& backbone, const PartialFc& head,
                   std::int64_t identities);

}  // namespace pfc
