#pragma once

#include <ATen/core/Tensor.h>

namespace pfc {

/// A tensor of the host's, on the device; a GPU's is copied on the current stream through pinned
/// memory, and nobody waits.
inline at::Tensor send(const at::Tensor& host, at::Device device) {
  return device.is_cuda() ? host.pin_memory().to(device, /*non_blocking=*/true) : host;
}

}  // namespace pfc
