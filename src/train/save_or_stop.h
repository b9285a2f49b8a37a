#pragma once

#include <cstdint>
#include <optional>

#include "pfc/base/stop_request.h"
#include "pfc/comm/communicator.h"
#include "pfc/train/config.h"
#include "pfc/train/pending_values.h"
#include "train/checkpoint_clock.h"

namespace pfc {

/// Decides after each step, for all ranks alike, whether the run saves a checkpoint and whether it
/// stops. Takes requests to stop (StopRequest) while it lives.
class SaveOrStop {
 public:
  /// Of a run of so many steps, which begins to train now.
  SaveOrStop(const Config::Checkpoint& config, std::int64_t steps, Communicator& comm);

  struct Decision {
    bool save = false, stop = false;
  };
  /// After `done` steps. All ranks call it together.
  Decision after(std::int64_t done);
  /// A checkpoint was saved from `begin` to `end`.
  void saved(CheckpointClock::Clock::time_point begin, CheckpointClock::Clock::time_point end);

 private:
  Communicator& comm_;
  StopRequest stop_;
  CheckpointClock clock_;
  std::optional<PendingValues> votes_;  ///< of a GPU's last step
};

}  // namespace pfc
