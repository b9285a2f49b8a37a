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
/// of its parts.
std::vector<std::pair<std::string, torch::Tensor>> state_of(const torch::nn::Module& module);

/// A network's tensors in a file, and what is beside them.
struct SavedState {
  BackboneName name;
  std::vector<TensorStream> tensors;  ///< named as the network names them
  std::vector<std::string> beside;    ///< names of the other tensors in the network's dict
  std::map<std::string, std::int64_t> elsewhere;  ///< tensors of other dicts, by their first key
};

/// Finds a network among `dicts`. It is recognised by its tensors; if several networks have such
/// tensors, it is `likely`. Its names may share a prefix, "module." or "features.module.", and may
/// contain what PyTorch's wrappers insert, "_orig_mod.". Of several networks the first is taken,
/// but not one that is named as an average (ema) or a teacher if there is another. Throws
/// DataError, with `path` and `place`, if there is none.
SavedState recognised(std::vector<TorchDict> dicts, std::string_view likely,
                      const std::filesystem::path& path, std::string_view place);

/// Reads a file of torch.save: a state_dict, a dict or a list that holds one at any depth, or a
/// module that was saved whole.
SavedState read_state_dict(const std::filesystem::path& path, std::string_view likely);

}  // namespace pfc
