#include "model/state_dict.h"

#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>
#include <torch/nn/module.h>
#include <torch/serialize.h>
#include <torch/types.h>

#include <algorithm>
#include <utility>

#include "model/tensor_shapes.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/export/torch_file.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

/// Where the field's programs put a network among other things.
constexpr std::string_view kKeys[] = {"state_dict", "state_dict_backbone", "backbone", "model"};
/// What DistributedDataParallel puts before every name.
constexpr std::string_view kWrapper = "module.";

constexpr std::size_t kKeysInErrors = 10;

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

std::vector<TensorStream> find_state(const TorchFile& file) {
  for (const std::string_view key : kKeys) {
    if (auto tensors = file.tensors(key); !tensors.empty()) return tensors;
  }
  return file.tensors();
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

SavedState recognised(std::vector<TensorStream> tensors, std::string_view likely,
                      const std::filesystem::path& path, std::string_view place) {
  TensorShapes shapes;
  for (TensorStream& tensor : tensors) {
    if (tensor.name.starts_with(kWrapper)) tensor.name.erase(0, kWrapper.size());
    shapes[tensor.name] = tensor.shape;
  }
  const auto name = recognise_network(shapes, likely);
  if (!name) {
    const std::string which = tensors.empty() ? ""
                                              : ", from '" + printable(tensors.front().name) +
                                                    "' to '" + printable(tensors.back().name) + "'";
    throw DataError(path.string(), place,
                    "found " + counted(tensors.size(), "tensor") + which +
                        ", want those of a known network:" + known_networks());
  }
  return {*name, std::move(tensors)};
}

SavedState read_state_dict(const std::filesystem::path& path, std::string_view likely) {
  const TorchFile file = TorchFile::open(path);
  std::vector<TensorStream> tensors = find_state(file);
  if (tensors.empty()) {
    std::string found = file.tensor() ? "one tensor without a name" : "the keys";
    const auto keys = file.keys();
    for (std::size_t i = 0; i < std::min(keys.size(), kKeysInErrors); ++i) {
      found += " '" + printable(keys[i]) + "'";
    }
    if (keys.size() > kKeysInErrors) found += " and more";
    throw DataError(path.string(), "data.pkl",
                    "found " + found +
                        ", want a state_dict, or one under 'state_dict', "
                        "'state_dict_backbone', 'backbone' or 'model'");
  }
  return recognised(std::move(tensors), likely, path, "data.pkl");
}

void save_state_dict(const Backbone& backbone, const std::filesystem::path& path) {
  c10::Dict<std::string, torch::Tensor> state;  // keeps its order
  for (const auto& [name, tensor] : state_of(backbone)) {
    state.insert(name, tensor.detach().cpu().contiguous());
  }
  // torch::pickle_save would tag the dict with its type, which torch.load refuses where it loads
  // weights only.
  std::string pickle;
  torch::jit::Pickler pickler(
      [&](const char* bytes, std::size_t size) { pickle.append(bytes, size); }, nullptr, nullptr,
      nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(state);
  pickler.stop();

  // Into memory: a full disk is an exception, which must not pass through the archive's C code.
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
