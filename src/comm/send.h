#pragma once

#include <ATen/core/Tensor.h>

namespace pfc {

/// Copies a host tensor to the device. To a GPU it goes through pinned memory on the current
/// stream, and nothing waits.
inline at::Tensor send(const at::Tensor& host, at::Device device) {
  return device.is_cuda() ? host.pin_memory().to(device, /*non_blocking=*/true) : host;
}

}  // namespace pfc
