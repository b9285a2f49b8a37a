#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "pfc/base/error.h"
#include "pfc/export/safetensors.h"
#include "pfc/model/backbone.h"

namespace pfc {
namespace {

constexpr const char* kFormat = "partial-fc backbone 1";

/// Parameters and buffers by name: what PyTorch calls a state_dict.
std::map<std::string, torch::Tensor> state_of(const Backbone& backbone) {
  std::map<std::string, torch::Tensor> state;
  for (const auto& item : backbone.named_parameters()) state[item.key()] = item.value();
  for (const auto& item : backbone.named_buffers()) state[item.key()] = item.value();
  return state;
}

std::string dtype_of(const torch::Tensor& tensor, const std::string& name) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
      return "F32";
    case torch::kInt64:
      return "I64";
    default:
      throw Error("tensor '" + name + "' is of type " + torch::toString(tensor.scalar_type()) +
                  ", want float32 as backbones are saved in");
  }
}

/// Every tensor of the file into the one of its name, none left over on either side.
void fill(Backbone& backbone, const SafetensorsFile& file) {
  const auto fail = [&](const std::string& tensor, const std::string& what) {
    throw DataError(file.path().string(), "tensor '" + tensor + "'", what);
  };
  if (const auto& format = file.metadata("format"); format != kFormat) {
    throw DataError(file.path().string(), "__metadata__",
                    "format '" + format + "', want '" + kFormat + "'");
  }
  const torch::NoGradGuard no_grad;
  auto state = state_of(backbone);
  for (const TensorView& tensor : file.tensors()) {
    const auto found = state.find(tensor.name);
    if (found == state.end()) fail(tensor.name, file.metadata("network") + " has no such tensor");
    const torch::Tensor& target = found->second;
    if (tensor.shape != target.sizes().vec()) {
      fail(tensor.name,
           "shape " + shape_text(tensor.shape) + ", want " + shape_text(target.sizes().vec()));
    }
    if (const auto dtype = dtype_of(target, tensor.name); tensor.dtype != dtype) {
      fail(tensor.name, "dtype " + tensor.dtype + ", want " + dtype);
    }
    std::ranges::copy(tensor.bytes, static_cast<std::byte*>(target.mutable_data_ptr()));
    state.erase(found);
  }
  if (!state.empty()) fail(state.begin()->first, "missing");
}

}  // namespace

Checksums save_backbone(const Backbone& backbone, std::string_view name,
                        std::int64_t embedding_size, const std::filesystem::path& path) {
  std::vector<torch::Tensor> alive;  // copies, where a tensor is not row-major in host memory
  std::vector<TensorView> views;
  for (const auto& [key, tensor] : state_of(backbone)) {
    alive.push_back(tensor.detach().cpu().contiguous());
    views.push_back(
        {key,
         dtype_of(tensor, key),
         tensor.sizes().vec(),
         {static_cast<const std::byte*>(alive.back().const_data_ptr()), alive.back().nbytes()}});
  }
  return write_safetensors(path, std::move(views),
                           {{"format", kFormat},
                            {"network", std::string(name)},
                            {"embedding_size", std::to_string(embedding_size)}});
}

BackboneName name_of_backbone(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  return {file.metadata("network"), file.integer("embedding_size")};
}

std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const std::int64_t embedding_size = file.integer("embedding_size");
  std::shared_ptr<Backbone> backbone;
  try {
    backbone = make_backbone(file.metadata("network"), embedding_size, /*seed=*/0);
  } catch (const DataError&) {
    throw;
  } catch (const Error& error) {
    throw DataError(path.string(), "__metadata__", error.what());
  }
  fill(*backbone, file);
  return backbone;
}

void load_backbone(const std::filesystem::path& path, Backbone& backbone) {
  fill(backbone, SafetensorsFile(path));
}

}  // namespace pfc
