#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace pfc {

struct CenterTableOptions;

/// Whether the table lies in a GPU's memory.
bool lies_on_gpu(const CenterTableOptions& options);

/// The memory of a table, reserved once and zeroed: a GPU's, or the host's. For a GPU whose table
/// lies in the host's memory it is pinned.
class TableMemory {
 public:
  /// Throws Error if the memory cannot be reserved.
  TableMemory(std::int64_t bytes, const CenterTableOptions& options);

  std::int64_t bytes() const { return bytes_; }
  /// A tensor in the memory that no earlier call has taken. Throws nothing: the caller asked for
  /// enough bytes.
  at::Tensor take(at::IntArrayRef shape, at::ScalarType type);

 private:
  struct OnHost {
    std::shared_ptr<std::byte> begin;
    std::shared_ptr<void> pinned;  ///< keeps it pinned while this lives; ends before it
  };

  std::int64_t bytes_, taken_ = 0;
  std::shared_ptr<const OnHost> on_host_;  ///< its parts have a share: they may outlive the table
  at::Tensor on_gpu_;                      ///< [bytes]
};

}  // namespace pfc
