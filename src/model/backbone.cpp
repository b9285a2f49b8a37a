#include "pfc/model/backbone.h"

#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>

#include "model/layers.h"
#include "model/synchronised_norms.h"
#include "pfc/base/error.h"
#include "pfc/model/network.h"

namespace pfc {

void Backbone::freeze(const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    const auto all = named_modules(/*name_prefix=*/{}, /*include_self=*/false);
    const auto* const found = all.find(part);
    if (found == nullptr) {
      std::string known;
      for (const auto& child : named_children()) known += " " + child.key();
      throw Error("the network has no part '" + part + "' to freeze; it has" + known +
                  ", and their parts");
    }
    for (torch::Tensor& parameter : (*found)->parameters()) parameter.requires_grad_(false);
    frozen_.push_back(*found);
  }
  const auto trains = [](const torch::Tensor& parameter) { return parameter.requires_grad(); };
  if (std::ranges::none_of(parameters(), trains))
    throw Error("model.freeze leaves nothing of the network to train");
  train(is_training());
}

void Backbone::freeze_all() {
  for (torch::Tensor& parameter : parameters()) parameter.requires_grad_(false);
  for (const auto& part : children()) frozen_.push_back(part);
  train(is_training());
}

void Backbone::merge_low_rank() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (auto* linear = module->as<Linear>()) linear->merge_low_rank();
  }
  if (const auto rank = options_.find(kLoraRank); rank != options_.end()) rank->second = 0;
}

void Backbone::train(bool on) {
  Module::train(on);
  for (const auto& part : frozen_) part->eval();
}

void synchronise_batch_norm(Backbone& backbone, Communicator& comm) {
  for (const auto& child : backbone.named_modules(/*name_prefix=*/{}, /*include_self=*/false)) {
    if (const auto norm = std::dynamic_pointer_cast<BatchNorm>(child.value()))
      norm->synchronise(comm);
    const auto require_statistics = [&](const auto* norm) {
      if (norm == nullptr || norm->running_mean.defined()) return;
      throw Error("model.sync_bn: the batch normalisation '" + child.key() +
                  "' keeps no running statistics, by which it would be known; make it with "
                  "track_running_stats(true)");
    };
    require_statistics(child.value()->as<torch::nn::BatchNorm1dImpl>());
    require_statistics(child.value()->as<torch::nn::BatchNorm2dImpl>());
    require_statistics(child.value()->as<torch::nn::BatchNorm3dImpl>());
  }
  // LibTorch's modules, and a network that calls the operator with buffers of its own.
  for (const at::Tensor& buffer : backbone.buffers()) synchronise_norm(buffer, comm);
}

void swap_red_and_blue(Backbone& backbone) {
  const torch::NoGradGuard no_grad;
  for (at::Tensor& parameter : backbone.parameters()) {
    if (parameter.dim() != 4 || parameter.size(1) != 3) continue;
    parameter.copy_(parameter.flip(1));
    return;
  }
  throw Error(backbone.title() + ": no convolution of 3 channels, whose order could be changed");
}

void move_to(at::Device device, Backbone& backbone) {
  if (device.is_cpu()) return;
  const torch::NoGradGuard no_grad;
  backbone.to(device);
  for (at::Tensor& parameter : backbone.parameters()) {
    if (parameter.dim() == 4)
      parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

torch::Tensor to_network_input(const torch::Tensor& pixels) {
  // Pixels already have the order of channels_last, so the permutation is free. On a CPU `tiny`
  // trained 162 images/s in this order and 108 in the contiguous one (PyTorch's own operators,
  // batch 128, two cores).
  return pixels.permute({0, 3, 1, 2}).to(torch::kFloat32).div_(127.5).sub_(1);
}

}  // namespace pfc
