#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/data/dataset.h"
#include "pfc/head/center_table.h"
#include "pfc/model/backbone.h"
#include "pfc/train/config.h"

namespace pfc {

/// What a run that is not resumed begins with, the same on every rank: the network as it was drawn,
/// or that of `init.from`; class centres as they were drawn, those that `init.class_map` takes from
/// there, or the mean embedding of a class's images. Throws Error in one sentence where that
/// network is another one or has another size of embeddings.
void start_from(const Config& config, const Dataset& dataset, Backbone& backbone,
                CenterTable& table, Communicator& comm);

}  // namespace pfc
