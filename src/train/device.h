#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/comm/placement.h"
#include "pfc/head/head_memory.h"
#include "pfc/train/config.h"

namespace pfc {

/// Where a run computes, and the type in which its backbone computes.
struct ComputeOn {
  at::Device device = at::kCPU;
  at::ScalarType precision = at::kFloat;
};

/// The communicator's device, and the type that `train.precision` means on it. Throws Error if the
/// configuration asks for something that is not available.
ComputeOn choose_device(const Config& config, const Communicator& comm);

/// The usual type for training a backbone on a device: the fastest that its hardware has.
at::ScalarType usual_precision(at::Device device);

/// The memory that this rank may take: its share of the machine's and of its GPU's.
FreeMemory free_memory(at::Device device, const Placement& place);

/// out_of_gpu_memory, with what training can do about it.
std::string out_of_memory(const std::string& thrown);

}  // namespace pfc
