#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <memory>

namespace pfc {

/// Numbers that a GPU may still be at, on their way to the host.
class PendingValues {
 public:
  /// Those of the current stream's work; of the CPU they are there.
  explicit PendingValues(const at::Tensor& values);

  /// Whether the host has gone on without them.
  bool is_pending() const { return over_ != nullptr; }
  /// In host memory. Waits until they are.
  const at::Tensor& wait();

 private:
  at::Tensor values_;
  std::unique_ptr<c10::Event> over_;
};

}  // namespace pfc
