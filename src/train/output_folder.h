#pragma once

#include <filesystem>

#include "pfc/comm/communicator.h"
#include "pfc/train/trainer.h"

namespace pfc {

/// Where the checkpoints are in a run's folder.
std::filesystem::path checkpoints_in(const std::filesystem::path& output);

/// Throws Error if a new run would overwrite a network or a log of an earlier run whose checkpoints
/// are gone: a disk may not be mounted, or a link may have lost its target.
void require_nothing_to_lose(const std::filesystem::path& output);

/// The folder that a run writes to. It belongs to this run as long as the object lives.
class OutputFolder {
 public:
  /// Creates the folder. Throws Error if a run that is not resumed would overwrite an earlier one,
  /// which may be days of work; if another run is writing to it; and, on every rank, if one rank
  /// does not see the first rank's folder, because a checkpoint is one folder of all ranks.
  OutputFolder(std::filesystem::path path, Start start, Communicator& comm);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;  ///< on the first rank: a file in the folder, open and locked
};

}  // namespace pfc
