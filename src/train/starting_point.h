#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/data/dataset.h"
#include "pfc/head/center_table.h"
#include "pfc/model/backbone.h"
#include "pfc/train/config.h"

namespace pfc {

// The initial state of a run that is not resumed; the same on every rank.

/// The network as it was drawn, or that of `init.from`. Throws Error in one sentence if `init.from`
/// holds another network or another embedding size, and if start_centers could not do what `init`
/// asks for, as far as this is known without the training set.
void start_network(const Config& config, Backbone& backbone, Communicator& comm);

/// Makes a network of an ONNX file ready for training, if its batch normalisations were folded
/// (folded_norms.h). Then: class centres as they were drawn, those that `init.class_map` takes from
/// there, or the mean embedding of a class's images.
void start_centers(const Config& config, const Dataset& dataset, Backbone& backbone,
                   CenterTable& table, Communicator& comm);

}  // namespace pfc
