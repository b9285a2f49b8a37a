#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pfc/export/tensor_stream.h"
#include "pfc/model/backbone_file.h"

namespace pfc {

/// Parameters and buffers by name, in the order of PyTorch's state_dict: a module's own, then those
/// of what it is made of.
std::vector<std::pair<std::string, torch::Tensor>> state_of(const torch::nn::Module& module);

/// What a file holds of a network.
struct SavedState {
  BackboneName name;
  std::vector<TensorStream> tensors;
};

/// `tensors` as those of a network that is recognised by them, `likely` where several have such;
/// names lose the `module.` that DistributedDataParallel puts before them. Throws DataError, of
/// `path` and `place`, where they are not those of a network.
SavedState recognised(std::vector<TensorStream> tensors, std::string_view likely,
                      const std::filesystem::path& path, std::string_view place);

/// From a file of torch.save: a state_dict, or a dict that holds one where the field's programs put
/// it. The network is recognised.
SavedState read_state_dict(const std::filesystem::path& path, std::string_view likely);

}  // namespace pfc
