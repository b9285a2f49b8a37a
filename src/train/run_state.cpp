#include "pfc/train/run_state.h"

#include <ATen/Functions.h>

#include <cmath>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

bool holds_whole_numbers(const at::Tensor& tensor) {
  return at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false);
}

template <class Number>
std::vector<Number> in_host_memory(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::kCPU, c10::CppTypeToScalarType<Number>::value);
  const auto* const first = host.const_data_ptr<Number>();
  return {first, first + host.numel()};
}

}  // namespace

void RunState::add(std::string name, std::int64_t& number, StateOptions options) {
  add(std::move(name), at::from_blob(&number, {1}, at::kLong), options);
}

void RunState::add(std::string name, double& number, StateOptions options) {
  add(std::move(name), at::from_blob(&number, {1}, at::kDouble), options);
}

void RunState::add(std::string name, const at::Tensor& tensor, StateOptions options) {
  if (!tensor.defined() || tensor.numel() == 0) return;
  for (const Entry& entry : entries_) {
    if (entry.name == name) throw Error("the state of a run has two numbers named " + name);
  }
  entries_.push_back({std::move(name), tensor, options});
}

/// The numbers that a manifest has for `entry`, as its tensor's type: [n].
at::Tensor RunState::checked(const SavedNumbers& saved, const Entry& entry, std::string_view file) {
  const auto fail = [&](const std::string& what) { throw DataError(file, entry.name, what); };
  const at::Tensor numbers =
      std::visit([](const auto& list) { return at::tensor(list); }, saved);  // int64 or float64
  const std::int64_t wanted = entry.tensor.numel();
  if (numbers.numel() != wanted)
    fail(counted(numbers.numel(), "number") + ", want " + std::to_string(wanted));
  const at::Tensor taken = numbers.to(entry.tensor.scalar_type());
  if (holds_whole_numbers(taken)) {
    if (!taken.to(numbers.scalar_type()).equal(numbers)) fail("not a whole number, or too large");
  } else if (!taken.isfinite().all().item<bool>()) {
    fail("not finite");
  }
  if (const auto least = numbers.min().item<double>(); least < entry.options.least)
    fail(format("%.6g, want %.6g or more", least, entry.options.least));
  return taken;
}

void RunState::save(Manifest& manifest) const {
  manifest.step = step;
  for (const Entry& entry : entries_) {
    if (holds_whole_numbers(entry.tensor)) {
      manifest.state[entry.name] = in_host_memory<std::int64_t>(entry.tensor);
      continue;
    }
    auto numbers = in_host_memory<double>(entry.tensor);
    for (const double number : numbers) {
      if (!std::isfinite(number))
        throw Error(entry.name + ", which checkpoints keep, is not finite");
    }
    manifest.state[entry.name] = std::move(numbers);
  }
}

void RunState::load(const Manifest& manifest, std::string_view name) {
  std::vector<std::pair<at::Tensor, at::Tensor>> found;
  for (const Entry& entry : entries_) {
    const auto saved = manifest.state.find(entry.name);
    if (saved != manifest.state.end()) {
      found.emplace_back(entry.tensor, checked(saved->second, entry, name));
    } else if (!entry.options.is_optional) {
      throw DataError(name, entry.name, "missing");
    }
  }
  for (const auto& [tensor, numbers] : found) tensor.copy_(numbers.view(tensor.sizes()));
  step = manifest.step;
}

void RunState::broadcast(Communicator& comm) {
  at::Tensor steps = at::from_blob(&step, {1}, at::kLong);
  comm.broadcast(steps).wait();
  for (Entry& entry : entries_) comm.broadcast(entry.tensor).wait();
}

}  // namespace pfc
