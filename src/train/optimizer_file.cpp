// How a backbone's optimizer is saved and loaded.
#include <ATen/Functions.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/formats/safetensors.h"
#include "pfc/train/backbone_optimizer.h"

namespace pfc {
namespace {

constexpr const char *kOptimizerFormat = "partial-fc optimizer 1", *kStep = "step";

using ViewsByName = std::map<std::string, const TensorView*>;

/// The tensor of the file under `name`, which is taken out of `left`.
const TensorView& take(const std::string& name, const char* dtype, at::IntArrayRef shape,
                       const SafetensorsFile& file, ViewsByName& left) {
  const TensorView& found = file.tensor(name);
  if (found.dtype != dtype || found.shape != shape.vec()) {
    throw DataError(file.path().string(), "tensor '" + name + "'",
                    found.dtype + " " + shape_text(found.shape) + ", want " + dtype + " " +
                        shape_text(shape.vec()));
  }
  left.erase(name);
  return found;
}

at::Tensor take_kept(const std::string& name, const at::Tensor& parameter,
                     const SafetensorsFile& file, ViewsByName& left) {
  const TensorView& found = take(name, "F32", parameter.sizes(), file, left);
  return at::empty_like(parameter, at::TensorOptions().requires_grad(false))
      .copy_(at::from_blob(const_cast<std::byte*>(found.bytes.data()), found.shape, at::kFloat));
}

std::int64_t take_step(const std::string& name, const SafetensorsFile& file, ViewsByName& left) {
  return *reinterpret_cast<const std::int64_t*>(take(name, "I64", {}, file, left).bytes.data());
}

}  // namespace

Checksums BackboneOptimizer::save(const std::filesystem::path& path) const {
  std::map<std::string, at::Tensor> state;
  for (const Parameter& parameter : parameters_) {
    for (std::size_t i = 0; i < parameter.kept.size(); ++i) {
      if (parameter.kept[i].defined())
        state[parameter.name + "." + kept_.tensors[i]] = parameter.kept[i].cpu().contiguous();
    }
    if (kept_.counts_steps && parameter.steps > 0)
      state[parameter.name + "." + kStep] = at::scalar_tensor(parameter.steps, at::kLong);
  }
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : state) {
    views.push_back({name,
                     tensor.scalar_type() == at::kLong ? "I64" : "F32",
                     tensor.sizes().vec(),
                     {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}});
  }
  return write_safetensors(path, views, {{"format", kOptimizerFormat}, {"optimizer", name_}});
}

void BackboneOptimizer::load(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  if (const auto& format = file.metadata("format"); format != kOptimizerFormat) {
    throw DataError(path.string(), "__metadata__",
                    "format '" + format + "', want '" + kOptimizerFormat + "'");
  }
  const auto saved_by = file.metadata().find("optimizer");  // older versions did not note it
  if (saved_by != file.metadata().end() && saved_by->second != name_)
    throw DataError(path.string(), "optimizer", "'" + saved_by->second + "', want '" + name_ + "'");
  ViewsByName left;
  for (const TensorView& tensor : file.tensors()) left[tensor.name] = &tensor;

  for (Parameter& parameter : parameters_) {
    std::vector<std::string> names;
    for (const std::string& kept : kept_.tensors) names.push_back(parameter.name + "." + kept);
    const std::string step = parameter.name + "." + kStep;
    const auto is_there = [&](const std::string& name) { return left.contains(name); };
    // Of a parameter that was never updated there is nothing.
    const bool was_updated =
        std::ranges::any_of(names, is_there) || (kept_.counts_steps && is_there(step));
    for (std::size_t i = 0; i < names.size(); ++i)
      parameter.kept[i] =
          was_updated ? take_kept(names[i], parameter.value, file, left) : at::Tensor();
    parameter.steps = was_updated && kept_.counts_steps ? take_step(step, file, left) : 0;
  }
  if (!left.empty()) {
    throw DataError(path.string(), "tensor '" + left.begin()->first + "'",
                    "is nothing that " + name_ + " keeps of a parameter of this network");
  }
}

}  // namespace pfc
