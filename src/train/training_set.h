#pragma once

#include <memory>
#include <optional>

#include "pfc/comm/communicator.h"
#include "pfc/comm/placement.h"
#include "pfc/data/dataset.h"
#include "pfc/train/config.h"
#include "pfc/train/manifest.h"

namespace pfc {

/// Opens the set on all ranks, first on one of each machine: it may have to write the index cache.
/// A run that is `resumed` gets it as it had it at its start. Throws Error where the ranks see
/// different sets, a resumed run sees another than before, or there are not two identities.
std::unique_ptr<Dataset> open_training_set(const Config& config,
                                           const std::optional<Manifest>& resumed,
                                           const Placement& place, Communicator& comm);

}  // namespace pfc
