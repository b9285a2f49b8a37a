#pragma once

// The formulas of the head's small kernels, one scalar at a time, in whatever type they are asked
// for. Every back end is tested against them; none of them is meant to be fast.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace pfc::kernels::formulas {

/// Norms are taken to be at least this, as torch.nn.functional.normalize does.
inline constexpr double kLeastNorm = 1e-12;

/// unit = w / max(‖w‖, 1e-12); returns 1 / max(‖w‖, 1e-12).
template <typename T>
T normalize_row(const float* w, std::int64_t dim, T* unit) {
  T squares = 0;
  for (std::int64_t j = 0; j < dim; ++j) squares += static_cast<T>(w[j]) * static_cast<T>(w[j]);
  const T inverse = 1 / std::max(std::sqrt(squares), static_cast<T>(kLeastNorm));
  for (std::int64_t j = 0; j < dim; ++j) unit[j] = static_cast<T>(w[j]) * inverse;
  return inverse;
}

/// A cosine above the threshold leaves the softmax: exp(−∞) = 0.
template <typename T>
T mask_above(T cosine, T threshold) {
  return cosine > threshold ? -std::numeric_limits<T>::infinity() : cosine;
}

/// exp(scale · cosine − shift), where shift is a maximum of the row's logits.
template <typename T>
T shifted_exp(T cosine, T scale, T shift) {
  return std::exp(scale * cosine - shift);
}

/// d_unit·ŵ, what the normalisation's backward takes away along ŵ = w·inverse_norm.
template <typename T>
T along_row(const float* w, const float* d_unit, T inverse_norm, std::int64_t dim) {
  T along = 0;
  for (std::int64_t j = 0; j < dim; ++j)
    along += static_cast<T>(d_unit[j]) * static_cast<T>(w[j]) * inverse_norm;
  return along;
}

/// A component of dw = (d_unit − (d_unit·ŵ) ŵ) / ‖w‖, the loss's gradient by w where d_unit is the
/// one by ŵ.
template <typename T>
T through_norm(T d_unit, T w, T along, T inverse_norm) {
  return (d_unit - along * w * inverse_norm) * inverse_norm;
}

/// A step of SGD with momentum and decay, as torch.optim.SGD defines it.
struct SgdStep {
  float lr;
  float momentum;
  float weight_decay;
};

/// dw from d_unit through the normalisation; then v ← μv + dw + λw and w ← w − ηv, in place.
template <typename T>
void update_row(float* w, float* v, const float* d_unit, T inverse_norm, std::int64_t dim,
                const SgdStep& step) {
  const T along = along_row(w, d_unit, inverse_norm, dim);
  for (std::int64_t j = 0; j < dim; ++j) {
    const T x = static_cast<T>(w[j]);
    const T gradient = through_norm(static_cast<T>(d_unit[j]), x, along, inverse_norm);
    const T velocity = static_cast<T>(step.momentum) * static_cast<T>(v[j]) + gradient +
                       static_cast<T>(step.weight_decay) * x;
    v[j] = static_cast<float>(velocity);
    w[j] = static_cast<float>(x - static_cast<T>(step.lr) * velocity);
  }
}

/// A row's n-th step of AdamW, as torch.optim.AdamW defines it with its own β and ε.
struct AdamWStep {
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

  float keep;             ///< 1 − ηλ, what the decoupled decay leaves of w
  float rate;             ///< η / (1 − β₁ⁿ)
  float root_correction;  ///< 1 / √(1 − β₂ⁿ)
};

inline AdamWStep adamw_step(double lr, double weight_decay, int n) {
  return {static_cast<float>(1 - lr * weight_decay),
          static_cast<float>(lr / (1 - std::pow(AdamWStep::kBeta1, n))),
          static_cast<float>(1 / std::sqrt(1 - std::pow(AdamWStep::kBeta2, n)))};
}

/// dw as in `update_row`; then m ← β₁m + (1 − β₁)dw, v ← β₂v + (1 − β₂)dw² and
/// w ← (1 − ηλ)w − η / (1 − β₁ⁿ) · m / (√v / √(1 − β₂ⁿ) + ε), in place.
template <typename T>
void update_row_adamw(float* w, float* m, float* v, const float* d_unit, T inverse_norm,
                      std::int64_t dim, const AdamWStep& step) {
  constexpr T kBeta1 = AdamWStep::kBeta1, kBeta2 = AdamWStep::kBeta2,
              kEpsilon = AdamWStep::kEpsilon;
  const T along = along_row(w, d_unit, inverse_norm, dim);
  for (std::int64_t j = 0; j < dim; ++j) {
    const T x = static_cast<T>(w[j]);
    const T gradient = through_norm(static_cast<T>(d_unit[j]), x, along, inverse_norm);
    const T mean = kBeta1 * static_cast<T>(m[j]) + (1 - kBeta1) * gradient;
    const T square = kBeta2 * static_cast<T>(v[j]) + (1 - kBeta2) * gradient * gradient;
    m[j] = static_cast<float>(mean);
    v[j] = static_cast<float>(square);
    const T root = std::sqrt(square) * static_cast<T>(step.root_correction) + kEpsilon;
    w[j] =
        static_cast<float>(static_cast<T>(step.keep) * x - static_cast<T>(step.rate) * mean / root);
  }
}

}  // namespace pfc::kernels::formulas
