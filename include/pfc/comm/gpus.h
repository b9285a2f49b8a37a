#pragma once

#include <cstdint>
#include <string>

#include "pfc/comm/launch.h"

namespace pfc {

/// How many GPUs this process can use: 0 if there is no driver, or if the program was built without
/// CUDA. Loads the libraries that GPU work needs. Throws Error if there is a GPU and they cannot be
/// loaded.
int gpus();

/// Which GPU belongs to this rank, given its number on its machine. Some launchers show every rank
/// all GPUs of a machine; others show each rank only its own, as number 0. There must be at least
/// one.
int gpu_of(int local_rank);

struct Gpu {
  std::string name;
  GpuId id{};
  std::int64_t bytes = 0, free_bytes = 0;  ///< of memory
  bool has_bfloat16 = false;  ///< whether its matrix multiplications are fast in bfloat16
};
/// `number` is below gpus().
Gpu gpu_properties(int number);
/// The most GPU memory that this process has held at once so far, in bytes.
std::int64_t peak_gpu_memory(int number);

}  // namespace pfc
