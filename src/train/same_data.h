#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/data/dataset.h"

namespace pfc {

/// Throws Error on every rank, naming one that differs from the first and what both see, where the
/// ranks have not opened the same images with the same identities.
void require_same_data(const Dataset& dataset, Communicator& comm);

}  // namespace pfc
