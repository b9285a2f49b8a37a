#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>

namespace pfc {

/// Kaiming initialisation by fan-out, counted as PyTorch does: all output channels, whatever the
/// groups. weight [out, in, …]
inline void draw_kaiming(const at::Tensor& weight, const at::Generator& generator) {
  const std::int64_t fan_out = weight.numel() / weight.size(1);
  weight.normal_(0, std::sqrt(2 / static_cast<double>(fan_out)), generator);
}

}  // namespace pfc
