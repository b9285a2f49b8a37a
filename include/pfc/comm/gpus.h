#pragma once

#include <cstdint>
#include <string>

#include "pfc/comm/launch.h"

namespace pfc {

/// GPUs that this process can use: 0 where there is no driver, or the program was built without
/// CUDA. Loads what work on them needs. Where there is a GPU and that cannot be loaded, throws
/// Error.
int gpus();

/// Which of them is this rank's, for its number on its machine. Some launchers show every rank all
/// of a machine's GPUs, others each its own alone, as number 0. There is one at least.
int gpu_of(int local_rank);

struct Gpu {
  std::string name;
  GpuId id{};
  std::int64_t bytes = 0, free_bytes = 0;  ///< of memory
  bool has_bfloat16 = false;               ///< that its multiplications are fast in
};
/// `number` is below gpus().
Gpu gpu(int number);
/// The most that this process has taken of its memory so far, in bytes.
std::int64_t peak_gpu_memory(int number);

}  // namespace pfc
