#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/train/config.h"

namespace pfc {

enum class Start {
  kAnew,   ///< throws Error where the output folder holds a run
  kResume  ///< goes on from the newest whole checkpoint; anew where the run has none yet
};

/// A whole training run: opens the data, trains for the configured steps, evaluates, and leaves in
/// `config.output`
///
/// - `checkpoints/`, what a run is taken up again from (see Checkpoints), the last one at its end;
/// - `last.safetensors`, the backbone of the last evaluation, and `best.safetensors`, the one that
/// did
///   best on the first verification set;
/// - `metrics.jsonl` and a TensorBoard event file, a line every `log.every` steps and one for each
///   evaluation and checkpoint;
/// - `roc.svg`, the ROC curves of the verification sets at the end;
/// - `config.toml`, every setting of the run.
///
/// A run that was resumed on as many ranks as it began with is bit for bit the one that was never
/// interrupted. At SIGTERM or SIGINT the step is finished, a checkpoint saved, and the call
/// returns.
///
/// Progress goes to stderr. Throws Error in one clear sentence; inputs are checked before the first
/// step.
void train(const Config& config, Communicator& comm, Start start = Start::kAnew);

}  // namespace pfc
