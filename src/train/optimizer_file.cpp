#include "train/optimizer_file.h"

#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/formats/safetensors.h"

namespace pfc {
namespace {

using torch::optim::AdamWParamState;
using torch::optim::SGDParamState;

constexpr const char* kFormat = "partial-fc optimizer 1";

using NamedTensors = std::map<std::string, at::Tensor>;

bool is_adamw(const torch::optim::Optimizer& optimizer) {
  return dynamic_cast<const torch::optim::AdamW*>(&optimizer) != nullptr;
}

void* key_of(const at::Tensor& parameter) {
  return parameter.unsafeGetTensorImpl();  // what torch's optimizers file a state under
}

/// A parameter has a state once it has been updated; SGD's without momentum is an undefined tensor.
NamedTensors state_of(const torch::optim::Optimizer& optimizer, const Backbone& backbone) {
  NamedTensors state;
  for (const auto& item : backbone.named_parameters()) {
    const auto found = optimizer.state().find(key_of(item.value()));
    if (found == optimizer.state().end()) continue;
    if (is_adamw(optimizer)) {
      const auto& of_adamw = static_cast<const AdamWParamState&>(*found->second);
      state[item.key() + ".exp_avg"] = of_adamw.exp_avg();
      state[item.key() + ".exp_avg_sq"] = of_adamw.exp_avg_sq();
      state[item.key() + ".step"] = at::scalar_tensor(of_adamw.step(), at::kLong);
    } else if (const auto& of_sgd = static_cast<const SGDParamState&>(*found->second);
               of_sgd.momentum_buffer().defined()) {
      state[item.key() + ".momentum"] = of_sgd.momentum_buffer();
    }
  }
  return state;
}

/// A tensor of the file under `name`, which is taken out of `left`; float32 of a parameter's shape.
at::Tensor take(const std::string& name, const at::Tensor& parameter, const SafetensorsFile& file,
                std::map<std::string, const TensorView*>& left) {
  const TensorView& found = file.tensor(name);
  if (found.dtype != "F32" || found.shape != parameter.sizes().vec()) {
    throw DataError(file.path().string(), "tensor '" + name + "'",
                    found.dtype + " " + shape_text(found.shape) + ", want F32 " +
                        shape_text(parameter.sizes().vec()));
  }
  left.erase(name);
  return at::empty_like(parameter, at::TensorOptions().requires_grad(false))
      .copy_(at::from_blob(const_cast<std::byte*>(found.bytes.data()), found.shape, at::kFloat));
}

std::int64_t take_step(const std::string& name, const SafetensorsFile& file,
                       std::map<std::string, const TensorView*>& left) {
  const TensorView& found = file.tensor(name);
  if (found.dtype != "I64" || !found.shape.empty()) {
    throw DataError(file.path().string(), "tensor '" + name + "'",
                    found.dtype + " " + shape_text(found.shape) + ", want I64 []");
  }
  left.erase(name);
  return *reinterpret_cast<const std::int64_t*>(found.bytes.data());
}

}  // namespace

Checksums save_optimizer(const torch::optim::Optimizer& optimizer, const Backbone& backbone,
                         const std::filesystem::path& path) {
  std::vector<at::Tensor> alive;  // copies, where a tensor is not row-major in host memory
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : state_of(optimizer, backbone)) {
    alive.push_back(tensor.cpu().contiguous());
    views.push_back(
        {name,
         tensor.scalar_type() == at::kLong ? "I64" : "F32",
         tensor.sizes().vec(),
         {static_cast<const std::byte*>(alive.back().const_data_ptr()), alive.back().nbytes()}});
  }
  return write_safetensors(path, views, {{"format", kFormat}});
}

void load_optimizer(const std::filesystem::path& path, const Backbone& backbone,
                    torch::optim::Optimizer& optimizer) {
  const SafetensorsFile file(path);
  if (const auto& format = file.metadata("format"); format != kFormat) {
    throw DataError(path.string(), "__metadata__",
                    "format '" + format + "', want '" + kFormat + "'");
  }
  std::map<std::string, const TensorView*> left;
  for (const TensorView& tensor : file.tensors()) left[tensor.name] = &tensor;

  const bool adamw = is_adamw(optimizer);
  optimizer.state().clear();
  for (const auto& item : backbone.named_parameters()) {
    const std::string& name = item.key();
    if (adamw && left.contains(name + ".step")) {
      auto state = std::make_unique<AdamWParamState>();
      state->step(take_step(name + ".step", file, left));
      state->exp_avg(take(name + ".exp_avg", item.value(), file, left));
      state->exp_avg_sq(take(name + ".exp_avg_sq", item.value(), file, left));
      optimizer.state()[key_of(item.value())] = std::move(state);
    } else if (!adamw && left.contains(name + ".momentum")) {
      auto state = std::make_unique<SGDParamState>();
      state->momentum_buffer(take(name + ".momentum", item.value(), file, left));
      optimizer.state()[key_of(item.value())] = std::move(state);
    }
  }
  if (!left.empty()) {
    throw DataError(path.string(), "tensor '" + left.begin()->first + "'",
                    std::string("is no state that ") + (adamw ? "AdamW" : "SGD") +
                        " has of a parameter of this network");
  }
}

}  // namespace pfc
