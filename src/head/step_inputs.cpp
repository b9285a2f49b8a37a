#include "head/step_inputs.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "head/upload.h"

namespace pfc {
namespace {

using kernels::cuda::StepScalars;

constexpr std::int64_t kScalars = sizeof(StepScalars) / sizeof(std::int32_t);
static_assert(sizeof(StepScalars) % sizeof(std::int32_t) == 0);

}  // namespace

void StepInputs::begin(const SampledClasses& classes) {
  scalars_ = {.count = classes.count() * centers_, .step = classes.step};
  own_classes_ = classes.targets;
}

void StepInputs::reserve(std::int64_t samples) {
  samples_ = samples;
  sent_ = at::empty({kScalars + 3 * samples}, at::TensorOptions(device_).dtype(at::kInt));
}

void StepInputs::send_samples(std::int64_t first) {
  std::vector<std::int32_t> sent(static_cast<std::size_t>(sent_.size(0)));
  const auto targets = sent.begin() + kScalars, order = targets + samples_,
             places = order + samples_;
  const auto first_row = [&](SampledPlace own) {
    return own.is_owned() ? own.v * static_cast<std::int32_t>(centers_) : -1;
  };
  std::transform(own_classes_.begin() + first, own_classes_.begin() + first + samples_, targets,
                 first_row);
  auto end = order;
  for (std::int32_t i = 0; i < samples_; ++i) {
    if (targets[i] >= 0) *end++ = i;
  }
  const auto target = [&](std::int32_t i) { return targets[i]; };
  std::ranges::stable_sort(order, end, {}, target);
  std::transform(order, end, places, target);
  scalars_.owned = end - order;
  scalars_.first = first;
  std::memcpy(sent.data(), &scalars_, sizeof(scalars_));
  upload(std::span(std::as_const(sent)), sent_);
}

void StepInputs::send_rule(const TableState& table, double lr) {
  scalars_.optimizer = table.optimizer();
  scalars_.lr = lr;
  scalars_.steps_seen = missed_steps_;
  scalars_.change = static_cast<std::uint64_t>(2 * table.history.steps());
  upload(std::span<const StepScalars>(&scalars_, 1), sent_);
}

bool StepInputs::send_missed(const StepHistory& history) {
  if (!history.is_kept()) return false;
  const at::Tensor missed = history.missed();
  missed_steps_ = static_cast<std::int32_t>(missed.size(0));
  const bool moves = !missed_.defined() || missed_.size(0) < missed.size(0);
  if (moves)
    missed_ = at::empty({2 * missed.size(0), 4}, at::TensorOptions(device_).dtype(at::kFloat));
  missed_.narrow(0, 0, missed.size(0)).copy_(missed.pin_memory(), /*non_blocking=*/true);
  return moves;
}

const StepScalars* StepInputs::scalars() const {
  return static_cast<const StepScalars*>(sent_.const_data_ptr());
}

const std::int32_t* StepInputs::numbers(std::int64_t n) const {
  return sent_.const_data_ptr<std::int32_t>() + kScalars + n * samples_;
}

}  // namespace pfc
