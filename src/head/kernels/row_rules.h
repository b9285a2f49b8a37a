#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "head/kernels/formulas.h"
#include "pfc/base/error.h"
#include "pfc/head/center_optimizer.h"

/// Marks the functions that rules are made of.
#ifdef __CUDACC__
#define PFC_RULE __host__ __device__ __forceinline__
#else
#define PFC_RULE inline __attribute__((always_inline))
#endif

namespace pfc::kernels {

/// The most numbers that a rule may keep beside each weight.
inline constexpr std::size_t kMostStates = 3;

/// A linear map of (w, v), where v is a row's first state: w ← w_w·w + w_v·v, v ← v_w·w + v_v·v.
struct LinearStep {
  double w_w, w_v, v_w, v_v;
};

/// All the changes together that the missed steps make to a row: w gains w_w·w + w_v·v, and v ←
/// v_w·w + v_v·v. The identity if the row missed no step, or if only sampled rows are updated. For
/// w it is the gain and not the new value, because the decay of a few steps is 10⁻⁶ or less, and
/// beside 1 float32 has only one digit of that.
struct CatchUp {
  float w_w = 0, w_v = 0, v_w = 0, v_v = 1;
};

/// Whether a rule can bring a row through its missed steps.
template <class Rule>
concept CatchesUp = requires(CenterOptimizer optimizer) {
  { Rule::without_gradient(optimizer, 0.1) } -> std::same_as<LinearStep>;
};

/// The rules for scalars.
namespace rules {

template <std::floating_point T>
PFC_RULE T mul_add(T a, T b, T c) {
  return a * b + c;
}
template <std::floating_point T>
PFC_RULE T mul_sub(T a, T b, T c) {
  return a * b - c;
}
template <std::floating_point T>
PFC_RULE T sqrt(T x) {
  return std::sqrt(x);
}

#include "head/kernels/rules/every_rule.h"  // NOLINT(bugprone-suspicious-include)

/// Brings w and its states [dim] through the missed steps, in place.
template <class T>
void catch_up_row(float* w, float* v, std::int64_t dim, const CatchUp& missed) {
  for (std::int64_t j = 0; j < dim; ++j) {
    const T x = T(w[j]), y = T(v[j]);
    w[j] = static_cast<float>(caught_up_w(missed, x, y));
    v[j] = static_cast<float>(caught_up_v(missed, x, y));
  }
}

/// The backward pass of the normalisation and the rule's update of w and its states [dim], in
/// place. d_unit [dim] is the loss's gradient by w / ‖w‖; inverse_norm = 1 / ‖w‖.
template <class T, class Rule>
void update_row(float* w, const std::array<float*, Rule::kStates.size()>& states,
                const float* d_unit, T inverse_norm, std::int64_t dim, const Rule& rule) {
  T dot = 0;
  for (std::int64_t j = 0; j < dim; ++j) dot += T(d_unit[j]) * T(w[j]);
  const T of_w = gradient_of_w(T(rule.decay()), dot * inverse_norm, inverse_norm);
  for (std::int64_t j = 0; j < dim; ++j) {
    T x = T(w[j]);
    std::array<T, Rule::kStates.size()> numbers;
    for (std::size_t k = 0; k < numbers.size(); ++k) numbers[k] = T(states[k][j]);
    rule.update(Gradient<T>{T(d_unit[j]), x, inverse_norm, of_w}, x, numbers);
    for (std::size_t k = 0; k < numbers.size(); ++k) states[k][j] = static_cast<float>(numbers[k]);
    w[j] = static_cast<float>(x);
  }
}

}  // namespace rules

/// The names of the numbers that are kept beside the weights.
inline std::span<const char* const> states_of(const CenterOptimizer& optimizer) {
  return rules::with_rule(optimizer.kind, [&]<class Rule>(std::type_identity<Rule>) {
    return std::span<const char* const>(Rule::kStates)
        .first(Rule::keeps_states(optimizer) ? Rule::kStates.size() : 0);
  });
}
/// Whether the number of updates of each row is kept.
inline bool counts_updates(const CenterOptimizer& optimizer) {
  return rules::with_rule(
      optimizer.kind, []<class Rule>(std::type_identity<Rule>) { return Rule::kCountsUpdates; });
}
/// Whether a row can be brought through its missed steps.
inline bool catches_up(const CenterOptimizer& optimizer) {
  return rules::with_rule(optimizer.kind,
                          []<class Rule>(std::type_identity<Rule>) { return CatchesUp<Rule>; });
}
/// What a step does to a row without a gradient. Only for optimizers whose rows can catch up.
inline LinearStep without_gradient(const CenterOptimizer& optimizer, double lr) {
  return rules::with_rule(optimizer.kind, [&]<class Rule>(std::type_identity<Rule>) -> LinearStep {
    if constexpr (CatchesUp<Rule>) return Rule::without_gradient(optimizer, lr);
    throw Error("what the optimizer does to a row without a gradient has no closed form");
  });
}

}  // namespace pfc::kernels
