#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/comm/communicator.h"
#include "pfc/head/center_table.h"
#include "pfc/model/backbone.h"
#include "pfc/plan/class_identities.h"
#include "pfc/train/backbone_optimizer.h"
#include "pfc/train/manifest.h"
#include "pfc/train/run_state.h"

namespace pfc {

struct CheckpointOptions {
  std::filesystem::path folder =
      {};                      ///< where they are kept, on a file system that all ranks share
  std::int64_t keep_last = 2;  ///< how many of the newest are kept
  std::int64_t keep_every =
      0;  ///< those of every multiple of this many steps are kept too; 0: none
};

/// A checkpoint could not be written, and nothing of it is left. Thrown on every rank.
class NotSaved : public Error {
 public:
  using Error::Error;
};

/// Everything about a run that a checkpoint holds; the rest follows from it.
struct TrainState {
  RunState& run;
  Backbone& backbone;
  BackboneOptimizer& optimizer;
  CenterTable& table;
  const ClassIdentities& identities;  ///< those of all classes, on all ranks
};

/// The checkpoints of a run: folders `step-000001200`, each with
///
/// - `backbone.safetensors`, rank 0's (save_backbone's, so that it can be used as it is),
/// - `optimizer.safetensors`, the state of the backbone's optimizer,
/// - `centers-00001-of-00004.safetensors`, one for each rank (save_centers'),
/// - `manifest.json`, written last, with the numbers of RunState.
///
/// A checkpoint is written under a temporary name and renamed when all of it is on the disk; older
/// ones are removed after that. So whenever a run dies, a whole one is left. Remains of a killed
/// save are removed before the next one, so room for `keep_last` and one more is enough. Every rank
/// calls each function; if one rank fails, all throw its sentence.
class Checkpoints {
 public:
  /// Looks for existing checkpoints. `note` gets a sentence, on one rank, for each that cannot be
  /// used.
  Checkpoints(CheckpointOptions options, Communicator& comm,
              std::function<void(const std::string&)> note);

  bool empty() const { return steps_.empty(); }
  /// The manifest of the newest checkpoint, whose other files may be damaged; nothing if there is
  /// none. Throws Error if there are checkpoints and none has a usable manifest.
  std::optional<Manifest> newest();
  /// Fills `state` from the newest whole checkpoint; RunState's numbers are then the first rank's.
  /// A checkpoint with a missing, short or altered file is reported by the file's name and set
  /// aside as `step-….damaged`. Throws Error if none is left. Throws Error also if a file cannot be
  /// read, because that does not mean that the checkpoint is damaged.
  Manifest restore(const TrainState& state);

  /// Saves. `manifest` describes the configuration and the training set; `state` and this function
  /// fill in the rest. Rows are streamed from the table, which must not change meanwhile. Returns
  /// the bytes of the checkpoint on the first rank. Throws NotSaved if a rank cannot write its
  /// part.
  std::int64_t save(const TrainState& state, const std::string& network,
                    std::int64_t embedding_size, Manifest manifest);

 private:
  std::filesystem::path path_of(std::int64_t step) const;
  std::vector<std::int64_t> find() const;
  std::optional<Manifest> first_that(
      const std::function<void(const std::filesystem::path&, const Manifest&)>& serves);
  void set_aside(const std::filesystem::path& folder) const;
  void on_all_or_none(const std::filesystem::path& partial, const std::function<void()>& work);
  void gather_sums(const Checksums& sums, Manifest& manifest);
  void remove_old(std::int64_t newest) const;
  void remove(const std::filesystem::path& folder) const;
  void remove_all(const std::filesystem::path& folder) const;

  CheckpointOptions options_;
  Communicator& comm_;
  std::function<void(const std::string&)> note_;
  std::vector<std::int64_t> steps_;  ///< those not found unusable, newest first
};

}  // namespace pfc
