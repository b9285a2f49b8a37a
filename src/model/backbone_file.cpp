#include <torch/torch.h>

#include <algorithm>
#include <charconv>
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

std::string to_string(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  return text + "]";
}

}  // namespace

void save_backbone(const Backbone& backbone, std::string_view name, std::int64_t embedding_size,
                   const std::filesystem::path& path) {
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
  write_safetensors(path, std::move(views),
                    {{"format", kFormat},
                     {"network", std::string(name)},
                     {"embedding_size", std::to_string(embedding_size)}});
}

std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const auto fail = [&](const std::string& place, const std::string& what) {
    throw DataError(path.string(), place, what);
  };
  if (const auto& format = file.metadata("format"); format != kFormat) {
    fail("__metadata__", "format '" + format + "', want '" + kFormat + "'");
  }
  const std::string& size_text = file.metadata("embedding_size");
  std::int64_t embedding_size = 0;
  const char* end = size_text.data() + size_text.size();
  if (const auto [stop, error] = std::from_chars(size_text.data(), end, embedding_size);
      error != std::errc() || stop != end) {
    fail("__metadata__", "embedding_size '" + size_text + "', want an integer");
  }

  std::shared_ptr<Backbone> backbone;
  try {
    backbone = make_backbone(file.metadata("network"), embedding_size, /*seed=*/0);
  } catch (const DataError&) {
    throw;
  } catch (const Error& error) {
    fail("__metadata__", error.what());
  }

  const torch::NoGradGuard no_grad;
  auto state = state_of(*backbone);
  for (const TensorView& tensor : file.tensors()) {
    const std::string place = "tensor '" + tensor.name + "'";
    const auto found = state.find(tensor.name);
    if (found == state.end()) fail(place, file.metadata("network") + " has no such tensor");
    const torch::Tensor& target = found->second;
    if (tensor.shape != target.sizes().vec()) {
      fail(place, "shape " + to_string(tensor.shape) + ", want " + to_string(target.sizes().vec()));
    }
    if (const auto dtype = dtype_of(target, tensor.name); tensor.dtype != dtype) {
      fail(place, "dtype " + tensor.dtype + ", want " + dtype);
    }
    std::ranges::copy(tensor.bytes, static_cast<std::byte*>(target.mutable_data_ptr()));
    state.erase(found);
  }
  if (!state.empty()) fail("tensor '" + state.begin()->first + "'", "missing");
  return backbone;
}

}  // namespace pfc
