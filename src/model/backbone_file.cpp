#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/named_values.h"
#include "model/layers.h"
#include "model/onnx_network.h"
#include "model/state_dict.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/formats/safetensors.h"
#include "pfc/formats/torch_file.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"
#include "pfc/model/network.h"

namespace pfc {
namespace {

constexpr std::string_view kOurFormats = "partial-fc ";  // the begin of each format's name
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
                  ", want float32, the type in which backbones are saved");
  }
}

/// `likely` as in name_of_backbone.
SavedState read_state(const std::filesystem::path& path, std::string_view likely) {
  {
    const MappedFile file(path);
    switch (recognise_file(file.bytes()).format) {
      case FileFormat::kSafetensors:
        break;
      case FileFormat::kTorch:
      case FileFormat::kOldTorch:
        return read_state_dict(path, likely);
      case FileFormat::kOnnx:
        return read_onnx_network(path);
      default:
        refuse_kind(path.string(), file.bytes(),
                    "a network: .safetensors, .onnx, or a .pth or .pt of PyTorch");
    }
  }
  const auto file = std::make_shared<const SafetensorsFile>(path);
  TorchDict dict;
  for (const TensorView& tensor : file->tensors()) {
    dict.tensors.push_back({tensor.name, tensor.dtype, tensor.shape,
                            [file, bytes = tensor.bytes](const ByteSink& sink) { sink(bytes); }});
  }
  const auto format = file->metadata().find("format");
  if (format == file->metadata().end() || !format->second.starts_with(kOurFormats)) {
    return recognised({std::move(dict)}, likely, path, "header");
  }
  if (format->second != kFormat) {
    throw DataError(path.string(), "__metadata__",
                    "format '" + format->second + "', want '" + kFormat + "'");
  }
  const auto options = file->metadata().find("options");
  return {{file->metadata("network"), file->integer("embedding_size"),
           options == file->metadata().end() ? NamedValues{}
                                             : parse_named_values(options->second, path.string())},
          std::move(dict.tensors),
          {},
          {}};
}

/// Parameters are float32 here. Nothing for a type that cannot become float32.
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

/// The part that a tensor belongs to: the first part of its name. Names with a single part form one
/// group.
std::string_view group_of(std::string_view name) {
  const std::size_t point = name.find('.');
  return point == name.npos ? "" : name.substr(0, point);
}

/// Whether a tensor may be the class centres of a head: it has as many numbers for each class as an
/// embedding.
bool are_centers(const TensorStream& tensor, std::int64_t embedding_size) {
  return tensor.shape.size() == 2 &&
         (tensor.shape[0] == embedding_size) != (tensor.shape[1] == embedding_size);
}

/// The parts of the file that belong to a head beside the network, and not to the network.
std::set<std::string_view> heads_in(const SavedState& saved,
                                    const std::map<std::string, torch::Tensor>& network) {
  std::set<std::string_view> own, heads;
  for (const auto& [name, tensor] : network) own.insert(group_of(name));
  for (const TensorStream& tensor : saved.tensors) {
    const std::string_view group = group_of(tensor.name);
    const bool is_own = group.empty() ? network.contains(tensor.name) : own.contains(group);
    if (!is_own && are_centers(tensor, saved.name.embedding_size)) heads.insert(group);
  }
  return heads;
}

/// A sentence about the tensors that were left out; empty if there are none.
std::string left_out_text(const SavedState& saved, const std::vector<std::string>& names,
                          const std::string& path) {
  constexpr std::size_t kNames = 3;
  std::string text;
  if (!names.empty()) {
    text = counted(std::ssize(names), "tensor") +
           (names.size() == 1 ? " that is not the network's (" : " that are not the network's (");
    for (std::size_t i = 0; i < std::min(names.size(), kNames); ++i)
      text += (i == 0 ? "" : ", ") + printable(names[i]);
    text += names.size() > kNames ? ", ...)" : ")";
  }
  for (const auto& [key, tensors] : saved.elsewhere) {
    text +=
        (text.empty() ? "" : ", ") + counted(tensors, "tensor") + " under '" + printable(key) + "'";
  }
  return text.empty() ? "" : path + ": left out: " + text;
}

std::int64_t lora_rank(const NamedValues& options) {
  const auto found = options.find(kLoraRank);
  const auto* const rank =
      found == options.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  return rank == nullptr ? 0 : *rank;
}

/// Returns a sentence about the tensors that were left out. Low-rank parts that only `backbone` has
/// stay as they are.
std::string load_state(Backbone& backbone, const SavedState& saved, const std::string& path) {
  const torch::NoGradGuard no_grad;
  const auto all = state_of(backbone);
  std::map<std::string, torch::Tensor> missing(all.begin(), all.end());
  const auto heads = heads_in(saved, missing);
  std::vector<std::string> left_out = saved.beside;
  for (const TensorStream& tensor : saved.tensors) {
    const auto fail = [&](const std::string& what) {
      throw DataError(path, "tensor '" + printable(tensor.name) + "'", what);
    };
    const auto found = missing.find(tensor.name);
    if (found == missing.end() && heads.contains(group_of(tensor.name))) {
      left_out.push_back(tensor.name);
      continue;
    }
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
  const bool keeps_low_rank = lora_rank(saved.name.options) == 0;
  std::erase_if(missing, [&](const auto& item) {
    return item.first.ends_with(kCount) || (keeps_low_rank && is_low_rank(item.first));
  });
  if (!missing.empty()) throw DataError(path, "tensor '" + missing.begin()->first + "'", "missing");
  return left_out_text(saved, left_out, path);
}

}  // namespace

Checksums save_backbone(const Backbone& backbone, std::string_view name,
                        std::int64_t embedding_size, const std::filesystem::path& path) {
  std::vector<torch::Tensor> alive;  // copies of tensors that are not row-major in host memory
  std::vector<TensorView> views;
  for (const auto& [key, tensor] : state_of(backbone)) {
    alive.push_back(tensor.detach().cpu().contiguous());
    views.push_back(
        {key,
         dtype_of(tensor, key),
         tensor.sizes().vec(),
         {static_cast<const std::byte*>(alive.back().const_data_ptr()), alive.back().nbytes()}});
  }
  std::map<std::string, std::string> metadata = {
      {"format", kFormat},
      {"network", std::string(name)},
      {"embedding_size", std::to_string(embedding_size)}};
  if (!backbone.options().empty()) metadata["options"] = toml_table(backbone.options());
  return write_safetensors(path, views, metadata);
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
  SavedBackbone saved{state.name, nullptr, {}};
  try {
    saved.backbone = make_backbone(state.name.network, state.name.embedding_size, /*seed=*/0,
                                   state.name.options);
  } catch (const Error& error) {
    throw DataError(path.string(), "network", error.what());
  }
  saved.left_out = load_state(*saved.backbone, state, path.string());
  return saved;
}

std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path) {
  return open_backbone(path).backbone;
}

std::string load_backbone(const std::filesystem::path& path, Backbone& backbone) {
  const SavedState saved = read_state(path, {});
  const std::int64_t rank = lora_rank(saved.name.options);
  if (rank == 0 || rank == lora_rank(backbone.options()))
    return load_state(backbone, saved, path.string());
  const torch::NoGradGuard no_grad;
  const SavedBackbone other = open_backbone(path);
  other.backbone->merge_low_rank();
  const auto into = state_of(backbone);
  const std::map<std::string, torch::Tensor> to(into.begin(), into.end());
  for (const auto& [name, tensor] : state_of(*other.backbone)) to.at(name).copy_(tensor);
  return other.left_out;
}

}  // namespace pfc
