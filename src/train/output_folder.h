#pragma once

#include <filesystem>

#include "pfc/comm/communicator.h"
#include "pfc/train/trainer.h"

namespace pfc {

/// The checkpoints' place in a run's folder.
std::filesystem::path checkpoints_in(const std::filesystem::path& output);

/// Throws Error where a run that begins would write over a network or a log of an earlier one,
/// whose checkpoints are gone: a disk may not be mounted, a link may have lost its target.
void require_nothing_to_lose(const std::filesystem::path& output);

/// The folder that a run writes to, its own for as long as this lives.
class OutputFolder {
 public:
  /// Makes it. Throws Error where a run that is not to be resumed would write over an earlier one,
  /// which may be days of work, where another run writes to it now, and, on every rank, where one
  /// does not see the first one's folder: a checkpoint is one folder of all ranks.
  OutputFolder(std::filesystem::path path, Start start, Communicator& comm);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;  ///< of the first rank: a file in the folder, open and locked
};

}  // namespace pfc
