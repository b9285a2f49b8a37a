#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>

#include "pfc/head/center_table.h"

namespace pfc {

/// Work on a whole table in a GPU's memory, and access to its rows for the host.
class GpuTable {
 public:
  virtual ~GpuTable() = default;

  /// The centres' initial values.
  virtual void fill_normal(float deviation) = 0;
  /// See CenterTable::catch_up. The caller clears the record of missed steps.
  virtual void catch_up() = 0;
  /// [n, dim] float32 in host memory.
  virtual at::Tensor rows(std::span<const LocalRow> rows) = 0;
};

/// `table` must outlive it and lie in a GPU's memory. `seed` is the table's.
std::unique_ptr<GpuTable> make_gpu_table(const CenterTable& table, std::uint64_t seed);

/// While the result lives, GPUs can read and write this host memory under its own address. Throws
/// Error if the system does not allow it.
std::shared_ptr<void> pin_for_gpus(void* begin, std::int64_t bytes);

/// [bytes] of zeros. Throws Error if that much is not free; the message says how much is.
at::Tensor reserve_on_gpu(std::int64_t bytes, at::Device device);

}  // namespace pfc
