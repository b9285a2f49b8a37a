#pragma once

#include <memory>
#include <optional>

#include "pfc/comm/communicator.h"
#include "pfc/comm/placement.h"
#include "pfc/data/dataset.h"
#include "pfc/train/config.h"
#include "pfc/train/manifest.h"

namespace pfc {

/// Opens the set on all ranks; on each machine one rank comes first, because it may have to write
/// the index cache. A `resumed` run gets the set as it was at the run's start. Throws Error if the
/// ranks see different sets, if a resumed run sees another set than before, or if there are fewer
/// than two identities.
std::unique_ptr<Dataset> open_training_set(const Config& config,
                                           const std::optional<Manifest>& resumed,
                                           const Placement& place, Communicator& comm);

}  // namespace pfc
