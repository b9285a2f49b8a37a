#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/head/head_memory.h"
#include "pfc/train/config.h"

namespace pfc {

/// Where a run computes, and what its backbone computes in.
struct ComputeOn {
  at::Device device = at::kCPU;
  at::ScalarType precision = at::kFloat;
};

/// The communicator's device, and what `train.precision` comes to on it. Throws Error where what
/// the configuration names is not to be had.
ComputeOn choose_device(const Config& config, const Communicator& comm);

/// What a backbone is trained in there: the fastest that its hardware has.
at::ScalarType usual_precision(at::Device device);

/// What one of `ranks_here` ranks of this machine may take.
FreeMemory free_memory(at::Device device, int ranks_here);

/// out_of_gpu_memory with what training can do about it.
std::string out_of_memory(const std::string& thrown);

}  // namespace pfc
