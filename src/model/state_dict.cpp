#include "model/state_dict.h"

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>
#include <torch/nn/module.h>
#include <torch/serialize.h>
#include <torch/types.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "model/tensor_shapes.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/formats/torch_file.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

/// Name parts that PyTorch's wrappers insert before the part that they wrap.
constexpr std::string_view kWrappers[] = {"_orig_mod.", "_fsdp_wrapped_module.",
                                          "_checkpoint_wrapped_module."};
/// Networks with such names are not the main one.
constexpr std::string_view kSecondary[] = {"ema", "swa", "avg", "average", "teacher"};

using State = std::vector<std::pair<std::string, torch::Tensor>>;

void add_state(const torch::nn::Module& module, const std::string& prefix, State& state) {
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    state.emplace_back(prefix + item.key(), item.value());
  }
  for (const auto& item : module.named_buffers(/*recurse=*/false)) {
    state.emplace_back(prefix + item.key(), item.value());
  }
  for (const auto& item : module.named_children()) {
    add_state(*item.value(), prefix + item.key() + ".", state);
  }
}

std::string unwrapped(std::string name) {
  for (const std::string_view wrapper : kWrappers) {
    for (std::size_t at; (at = name.find(wrapper)) != name.npos;) name.erase(at, wrapper.size());
  }
  return name;
}

/// Every prefix that ends with a full stop, and the empty one; the shortest first.
std::vector<std::string> prefixes_of(const std::vector<TensorStream>& tensors) {
  std::set<std::string> all = {""};
  for (const TensorStream& tensor : tensors) {
    for (std::size_t at = 0; (at = tensor.name.find('.', at)) != std::string::npos;)
      all.insert(tensor.name.substr(0, ++at));
  }
  std::vector<std::string> prefixes(all.begin(), all.end());
  std::ranges::stable_sort(prefixes, {}, &std::string::size);
  return prefixes;
}

struct FoundNetwork {
  std::size_t dict;
  std::string prefix;
  BackboneName name;
};

std::optional<FoundNetwork> find_network(const std::vector<TorchDict>& dicts,
                                         std::string_view likely) {
  std::optional<FoundNetwork> secondary;
  for (std::size_t i = 0; i < dicts.size(); ++i) {
    for (const std::string& prefix : prefixes_of(dicts[i].tensors)) {
      TensorShapes shapes;
      for (const TensorStream& tensor : dicts[i].tensors) {
        if (tensor.name.starts_with(prefix))
          shapes[tensor.name.substr(prefix.size())] = tensor.shape;
      }
      const auto name = recognise_network(shapes, likely);
      if (!name) continue;
      const std::string where = dicts[i].path + "." + prefix;
      const bool is_secondary = std::ranges::any_of(
          kSecondary, [&](std::string_view word) { return where.find(word) != where.npos; });
      if (!is_secondary) return FoundNetwork{i, prefix, *name};
      if (!secondary) secondary = {i, prefix, *name};
    }
  }
  return secondary;
}

/// Describes the tensors of the largest dict, for a file without a known network.
std::string tensors_text(const std::vector<TorchDict>& dicts) {
  const auto tensors_in = [](const TorchDict& dict) {
    return dict.tensors.size() + dict.unread.size();
  };
  const auto largest = std::ranges::max_element(dicts, {}, tensors_in);
  if (largest == dicts.end() || tensors_in(*largest) == 0) return "found 0 tensors";
  const std::string under =
      largest->path.empty() ? "" : " under '" + printable(largest->path) + "'";
  if (!largest->unread.empty()) {
    return "found tensors that are not read" + under + ", " +
           std::to_string(largest->unread.size()) + " such as " +
           printable(largest->unread.front());
  }
  const auto& tensors = largest->tensors;
  if (tensors.size() == 1)
    return "found 1 tensor" + under + ", '" + printable(tensors.front().name) + "' of shape " +
           shape_text(tensors.front().shape);
  return "found " + counted(std::ssize(tensors), "tensor") + under + ", from '" +
         printable(tensors.front().name) + "' to '" + printable(tensors.back().name) + "'";
}

std::string known_networks() {
  std::string known;
  for (const std::string& name : backbone_names()) known += " " + name;
  return known;
}

}  // namespace

State state_of(const torch::nn::Module& module) {
  State state;
  add_state(module, "", state);
  return state;
}

SavedState recognised(std::vector<TorchDict> dicts, std::string_view likely,
                      const std::filesystem::path& path, std::string_view place) {
  for (TorchDict& dict : dicts) {
    for (TensorStream& tensor : dict.tensors) tensor.name = unwrapped(std::move(tensor.name));
  }
  const auto found = find_network(dicts, likely);
  if (!found) {
    throw DataError(path.string(), place,
                    tensors_text(dicts) + ", want those of a known network:" + known_networks());
  }
  SavedState state{found->name, {}, {}, {}};
  for (std::size_t i = 0; i < dicts.size(); ++i) {
    if (i != found->dict) {
      const std::string key = dicts[i].path.substr(0, dicts[i].path.find('.'));
      state.elsewhere[key] += std::ssize(dicts[i].tensors);
      continue;
    }
    for (TensorStream& tensor : dicts[i].tensors) {
      if (tensor.name.starts_with(found->prefix)) {
        tensor.name.erase(0, found->prefix.size());
        state.tensors.push_back(std::move(tensor));
      } else {
        state.beside.push_back(tensor.name);
      }
    }
  }
  return state;
}

SavedState read_state_dict(const std::filesystem::path& path, std::string_view likely) {
  const TorchFile file = TorchFile::open(path);
  std::vector<TorchDict> dicts = file.dicts();
  if (dicts.empty()) {
    throw DataError(path.string(), "data.pkl",
                    "found " + file.describe() + ", want a state_dict, or a dict that holds one");
  }
  return recognised(std::move(dicts), likely, path, "data.pkl");
}

void save_state_dict(const Backbone& backbone, const std::filesystem::path& path) {
  c10::Dict<std::string, torch::Tensor> state;  // keeps the insertion order
  for (const auto& [name, tensor] : state_of(backbone)) {
    state.insert(name, tensor.detach().cpu().contiguous());
  }
  // torch::pickle_save would tag the dict with its type; torch.load refuses that with weights_only.
  std::string pickle;
  torch::jit::Pickler pickler(
      [&](const char* bytes, std::size_t size) { pickle.append(bytes, size); }, nullptr, nullptr,
      nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(state);
  pickler.stop();

  // Written to memory first: a full disk raises an exception, which must not pass through the
  // archive's C code.
  std::string bytes;
  caffe2::serialize::PyTorchStreamWriter archive([&](const void* piece, std::size_t size) {
    bytes.append(static_cast<const char*>(piece), size);
    return size;
  });
  archive.writeRecord("data.pkl", pickle.data(), pickle.size());
  for (std::size_t i = 0; i < pickler.tensorData().size(); ++i) {
    const at::Tensor& tensor = pickler.tensorData()[i];
    archive.writeRecord("data/" + std::to_string(i), tensor.const_data_ptr(), tensor.nbytes());
  }
  archive.writeEndOfFile();
  write_file(path, bytes);
}

}  // namespace pfc
