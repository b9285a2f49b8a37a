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

/// A step of SGD with momentum and decay, as torch.optim.SGD defines it.
struct SgdStep {
  float lr;
  float momentum;
  float weight_decay;
};

/// d_unit is the loss's gradient by ŵ = w·inverse_norm. Through the normalisation, dw = (d_unit −
/// (d_unit·ŵ) ŵ) / ‖w‖; then v ← μv + dw + λw and w ← w − ηv, in place.
template <typename T>
void update_row(float* w, float* v, const float* d_unit, T inverse_norm, std::int64_t dim,
                const SgdStep& step) {
  T along = 0;
  for (std::int64_t j = 0; j < dim; ++j)
    along += static_cast<T>(d_unit[j]) * static_cast<T>(w[j]) * inverse_norm;
  for (std::int64_t j = 0; j < dim; ++j) {
    const T gradient =
        (static_cast<T>(d_unit[j]) - along * static_cast<T>(w[j]) * inverse_norm) * inverse_norm +
        static_cast<T>(step.weight_decay) * static_cast<T>(w[j]);
    const T velocity = static_cast<T>(step.momentum) * static_cast<T>(v[j]) + gradient;
    v[j] = static_cast<float>(velocity);
    w[j] = static_cast<float>(static_cast<T>(w[j]) - static_cast<T>(step.lr) * velocity);
  }
}

}  // namespace pfc::kernels::formulas
