#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/train/config.h"

namespace pfc {

enum class Start {
  kAnew,   ///< throws Error if the output folder holds a run
  kResume  ///< continues from the newest whole checkpoint; begins anew if the run has none yet
};

/// A whole training run: opens the data, trains for the configured steps, evaluates, and writes
/// into `config.output`
///
/// - `checkpoints/`, from which a run is resumed (see Checkpoints), the last one at its end;
/// - `last.safetensors`, the backbone of the last evaluation, and `best.safetensors`, the one with
///   the best accuracy on the first verification set;
/// - `metrics.jsonl` and a TensorBoard event file: an entry every `log.every` steps, and one for
///   each evaluation and checkpoint;
/// - `roc.svg`, the ROC curves of the verification sets at the end;
/// - `config.toml`, every setting of the run.
///
/// A run that was resumed on as many ranks as it began with is equal, bit for bit, to one that was
/// never interrupted. On SIGTERM or SIGINT the step is finished, a checkpoint saved, and the call
/// returns.
///
/// Progress goes to stderr. Throws Error with one clear sentence; inputs are checked before the
/// first step.
void train(const Config& config, Communicator& comm, Start start = Start::kAnew);

}  // namespace pfc
