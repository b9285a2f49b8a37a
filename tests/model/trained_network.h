#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/backbone_state.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// Values as after training: no normalisation is the identity, and signals keep their size through
/// any depth.
inline void make_trained(Backbone& backbone, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  for (const auto& [name, tensor] : state_of(backbone)) {
    if (tensor.dim() > 1) {
      tensor.normal_(0, std::sqrt(1 / static_cast<double>(tensor[0].numel())), generator);
    } else if (name.ends_with("running_var")) {
      tensor.uniform_(0.5, 2, generator);
    } else if (name.ends_with("running_mean") || name.ends_with("bias")) {
      tensor.normal_(0, 0.3, generator);
    } else if (tensor.is_floating_point()) {
      tensor.uniform_(0.5, 1.5, generator);
    }
  }
}

/// Gives the running statistics of batch normalisations the values that `images` have, as after
/// long training on them.
inline void take_statistics(Backbone& backbone, const torch::Tensor& images) {
  constexpr double kMomentum = 0.1;
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> before;
  for (const auto& buffer : backbone.buffers()) before.push_back(buffer.clone());
  backbone.train();
  backbone.forward(images);
  for (std::size_t i = 0; i < before.size(); ++i) {
    torch::Tensor after = backbone.buffers()[i];
    if (after.is_floating_point()) after.copy_(before[i] + (after - before[i]) / kMomentum);
  }
}

inline std::shared_ptr<Backbone> trained(const std::string& name) {
  auto backbone = make_backbone(name, 64, 1);
  make_trained(*backbone, 2);
  return backbone;
}

}  // namespace pfc
