#pragma once

#include "pfc/train/train_step.h"

namespace pfc {

/// A plain pass as CUDA graphs.
std::unique_ptr<BackbonePass> make_recorded_pass(std::unique_ptr<BackbonePass> plain,
                                                 Training& training);

}  // namespace pfc
