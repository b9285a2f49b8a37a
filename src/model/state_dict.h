#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pfc/formats/tensor_stream.h"
#include "pfc/formats/torch_file.h"
#include "pfc/model/backbone_file.h"

namespace pfc {

/// Parameters and buffers by name, in the order of PyTorch's state_dict: a module's own, then those
/// of what it is made of.
std::vector<std::pair<std::string, torch::Tensor>> state_of(const torch::nn::Module& module);

/// What a file holds of a network, and beside it.
struct SavedState {
  BackboneName name;
  std::vector<TensorStream> tensors;  ///< named as the network names them
  std::vector<std::string> beside;    ///< names of the other tensors in the network's dict
  std::map<std::string, std::int64_t> elsewhere;  ///< tensors of other dicts, by their first key
};

/// Finds a network among `dicts`, recognised by its tensors, and `likely` where several have such.
/// Its names may stand behind a prefix that all of them share, "module." or "features.module.", and
/// have in them what PyTorch's wrappers put there, "_orig_mod.". Of several networks it is the
/// first, and none that is called an average (ema) or a teacher where there is another. Throws
/// DataError, of `path` and `place`, where there is none.
SavedState recognised(std::vector<TorchDict> dicts, std::string_view likely,
                      const std::filesystem::path& path, std::string_view place);

/// From a file of torch.save: a state_dict, a dict or a list that holds one at any depth, or a
/// module that was saved whole.
SavedState read_state_dict(const std::filesystem::path& path, std::string_view likely);

}  // namespace pfc
