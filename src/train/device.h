#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "pfc/comm/communicator.h"
#include "pfc/model/backbone.h"
#include "pfc/train/config.h"

namespace pfc {

/// Where a run computes, and what its backbone computes in.
struct ComputeOn {
  at::Device device = at::kCPU;
  at::ScalarType precision = at::kFloat;
};

/// What `train.device` and `train.precision` come to on this machine. Throws Error where what they
/// name is not to be had.
ComputeOn choose_device(const Config& config, const Communicator& comm);

/// Free memory there, in bytes.
std::int64_t free_memory(at::Device device);

/// A sentence on what LibTorch throws where a GPU's memory runs out: what was asked for, what is
/// free, and what to do.
std::string out_of_memory(const std::string& thrown);

/// Puts a backbone there; on a GPU convolutions have their weights in channels_last, as their
/// images are.
void move_to(at::Device device, Backbone& backbone);

}  // namespace pfc
