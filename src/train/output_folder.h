#pragma once

#include <filesystem>

#include "pfc/comm/communicator.h"
#include "pfc/train/trainer.h"

namespace pfc {

/// The checkpoints' place in a run's folder.
std::filesystem::path checkpoints_in(const std::filesystem::path& output);

/// Makes the folder that a run writes to, and returns it. Throws Error where a run that is not to
/// be resumed would write over an earlier one, which may be days of work, and, on every rank, where
/// one does not see the first one's folder: a checkpoint is one folder of all ranks.
std::filesystem::path prepare_output(const std::filesystem::path& output, Start start,
                                     Communicator& comm);

}  // namespace pfc
