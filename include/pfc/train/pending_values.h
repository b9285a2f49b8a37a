#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <memory>

namespace pfc {

/// Numbers that a GPU may still be computing, on their way to the host.
class PendingValues {
 public:
  /// Takes the result of the current stream's work; a CPU's values are there at once.
  explicit PendingValues(const at::Tensor& values);

  /// Whether the host has continued without them.
  bool is_pending() const { return over_ != nullptr; }
  /// The values in host memory. Waits for them.
  const at::Tensor& wait();

 private:
  at::Tensor values_;
  std::unique_ptr<c10::Event> over_;
};

}  // namespace pfc
