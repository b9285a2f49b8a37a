#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/data/dataset.h"
#include "pfc/train/manifest.h"

namespace pfc {

/// Throws Error on every rank if the ranks have not opened the same images with the same
/// identities. It names a rank that differs from the first, and what both see.
void require_same_data(const Dataset& dataset, Communicator& comm);
/// Throws Error if the training set is not the one that a checkpoint's run used.
void require_same_data(const Dataset& dataset, const Manifest& manifest);

/// Notes in a manifest what the run sees of its training set.
void describe(const Dataset& dataset, Manifest& manifest);

}  // namespace pfc
