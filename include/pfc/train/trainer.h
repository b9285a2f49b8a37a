#pragma once

#include "pfc/comm/communicator.h"
#include "pfc/train/config.h"

namespace pfc {

/// A whole training run: opens the data, trains for the configured steps, evaluates, and leaves in
/// `config.output`
///
/// - `config.toml`, every setting of the run;
/// - `metrics.jsonl` and a TensorBoard event file, a line every `log.every` steps and one an
/// evaluation;
/// - `last.safetensors` and `centers.safetensors`, written at every evaluation and at the end;
/// - `best.safetensors`, the backbone that did best on the first verification set;
/// - `roc.svg`, the ROC curves of the verification sets at the end.
///
/// Progress goes to stderr. Throws Error in one clear sentence; inputs are checked before the first
/// step.
void train(const Config& config, Communicator& comm);

}  // namespace pfc
