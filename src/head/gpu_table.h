#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "head/table_state.h"

namespace pfc {

/// `table` must outlive it and lie in a GPU's memory.
std::unique_ptr<TableRows> make_gpu_rows(const TableState& table);

/// While the result lives, GPUs can read and write this host memory under its own address. Throws
/// Error if the system does not allow it.
std::shared_ptr<void> pin_for_gpus(void* begin, std::int64_t bytes);

/// [bytes] of zeros. Throws Error if that much is not free; the message says how much is.
at::Tensor reserve_on_gpu(std::int64_t bytes, at::Device device);

}  // namespace pfc
