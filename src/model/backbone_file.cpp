#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "model/state_dict.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/export/safetensors.h"
#include "pfc/export/torch_file.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"

namespace pfc {
namespace {

constexpr std::string_view kOurFormats = "partial-fc ";  // how each of them begins
constexpr const char* kFormat = "partial-fc backbone 1";
constexpr std::string_view kCount = "num_batches_tracked";

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

bool is_pytorchs(const std::filesystem::path& path) {
  const auto extension = path.extension();
  return extension == ".pth" || extension == ".pt" || is_torch_file(MappedFile(path).bytes());
}

/// `likely` as in name_of_backbone.
SavedState read_state(const std::filesystem::path& path, std::string_view likely) {
  if (is_pytorchs(path)) return read_state_dict(path, likely);
  const auto file = std::make_shared<const SafetensorsFile>(path);
  std::vector<TensorStream> tensors;
  for (const TensorView& tensor : file->tensors()) {
    tensors.push_back({tensor.name, tensor.dtype, tensor.shape,
                       [file, bytes = tensor.bytes](const ByteSink& sink) { sink(bytes); }});
  }
  const auto format = file->metadata().find("format");
  if (format == file->metadata().end() || !format->second.starts_with(kOurFormats)) {
    return recognised(std::move(tensors), likely, path, "header");
  }
  if (format->second != kFormat) {
    throw DataError(path.string(), "__metadata__",
                    "format '" + format->second + "', want '" + kFormat + "'");
  }
  return {{file->metadata("network"), file->integer("embedding_size")}, std::move(tensors)};
}

/// float32 is what parameters are here; nothing where a type does not become that.
std::optional<torch::ScalarType> float_type(const std::string& dtype) {
  if (dtype == "F64") return torch::kFloat64;
  if (dtype == "F16") return torch::kFloat16;
  if (dtype == "BF16") return torch::kBFloat16;
  return std::nullopt;
}

/// `target` has the shape and is row-major.
void read_into(const torch::Tensor& target, const TensorStream& saved) {
  auto* to = static_cast<std::byte*>(target.mutable_data_ptr());
  saved.read([&](std::span<const std::byte> bytes) { to = std::ranges::copy(bytes, to).out; });
}

void load_state(Backbone& backbone, const SavedState& saved, const std::string& path) {
  const torch::NoGradGuard no_grad;
  const auto all = state_of(backbone);
  std::map<std::string, torch::Tensor> missing(all.begin(), all.end());
  for (const TensorStream& tensor : saved.tensors) {
    const auto fail = [&](const std::string& what) {
      throw DataError(path, "tensor '" + printable(tensor.name) + "'", what);
    };
    const auto found = missing.find(tensor.name);
    if (found == missing.end()) fail(saved.name.network + " has no such tensor");
    const torch::Tensor& target = found->second;
    if (tensor.shape != target.sizes().vec()) {
      fail("shape " + shape_text(tensor.shape) + ", want " + shape_text(target.sizes()));
    }
    const auto want = dtype_of(target, tensor.name);
    const auto other = want == "F32" ? float_type(tensor.dtype) : std::nullopt;
    if (other) {
      const auto exact = torch::empty(target.sizes(), *other);
      read_into(exact, tensor);
      target.copy_(exact);
    } else if (tensor.dtype == want) {
      const auto saved_values = torch::empty(target.sizes(), target.scalar_type());
      read_into(saved_values, tensor);
      target.copy_(saved_values);
    } else {
      fail("dtype " + tensor.dtype + ", want " + want);
    }
    missing.erase(found);
  }
  // Files from before PyTorch 0.4.1 have no such counts, and nothing here depends on them.
  std::erase_if(missing, [](const auto& item) { return item.first.ends_with(kCount); });
  if (!missing.empty()) throw DataError(path, "tensor '" + missing.begin()->first + "'", "missing");
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
  return write_safetensors(path, views,
                           {{"format", kFormat},
                            {"network", std::string(name)},
                            {"embedding_size", std::to_string(embedding_size)}});
}

BackboneName name_of_backbone(const std::filesystem::path& path, std::string_view likely) {
  return read_state(path, likely).name;
}

SavedBackbone open_backbone(const std::filesystem::path& path, std::string_view network) {
  const SavedState state = read_state(path, network);
  if (!network.empty() && state.name.network != network) {
    throw DataError(
        path.string(), "network",
        "its tensors are those of " + state.name.network + ", want " + std::string(network));
  }
  SavedBackbone saved{state.name, nullptr};
  try {
    saved.backbone = make_backbone(state.name.network, state.name.embedding_size, /*seed=*/0);
  } catch (const Error& error) {
    throw DataError(path.string(), "network", error.what());
  }
  load_state(*saved.backbone, state, path.string());
  return saved;
}

std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path) {
  return open_backbone(path).backbone;
}

void load_backbone(const std::filesystem::path& path, Backbone& backbone) {
  load_state(backbone, read_state(path, {}), path.string());
}

}  // namespace pfc
