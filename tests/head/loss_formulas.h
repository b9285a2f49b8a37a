#pragma once

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <limits>
#include <vector>

#include "pfc/head/loss.h"

/// The formulas of the losses once more, as papers print them: in float64, on whole matrices, for
/// autograd. The tests hold the head against them, for every loss that is registered: a loss
/// without its functions here does not compile.
namespace pfc::reference {

/// Of a micro-batch. Tensors may want gradients.
struct Samples {
  at::Tensor cosines;  ///< [n] own
  at::Tensor lengths;  ///< [n]
  at::Tensor normals;  ///< [n]
  at::Tensor valid;    ///< [n] 1 or 0
};

/// The numbers that a loss keeps.
using Numbers = std::vector<double>;

// ---- What most losses do not have

template <class L>
void follow(const L&, const Samples&, Numbers&) {}

template <class L>
at::Tensor others(const L&, const at::Tensor& cosines, const Samples&, const Numbers&) {
  return cosines;
}

template <class L>
at::Tensor penalty(const L&, const at::Tensor& lengths) {
  return at::zeros_like(lengths);
}

// ---- A loss each

inline at::Tensor own(const CosFace& loss, const Samples& samples, const Numbers&) {
  return samples.cosines - loss.m;
}

inline at::Tensor arcface(const at::Tensor& cosines, const at::Tensor& m) {
  const at::Tensor theta = cosines.clamp(-1, 1).acos();
  return at::where(theta + m > M_PI, cosines - m * m.sin(), (theta + m).cos());
}
inline at::Tensor arcface(const at::Tensor& cosines, double m) {
  return arcface(cosines, at::full_like(cosines, m));
}

inline at::Tensor own(const ArcFace& loss, const Samples& samples, const Numbers&) {
  const at::Tensor& cosines = samples.cosines;
  if (loss.slope == ArcFace::Slope::kExact) return arcface(cosines, loss.m);
  return cosines + ((cosines.acos() + loss.m).cos() - cosines).detach();
}

inline at::Tensor own(const CombinedMargin& loss, const Samples& samples, const Numbers&) {
  return (loss.m1 * samples.cosines.acos() + loss.m2).cos() - loss.m3;
}

inline at::Tensor own(const AdaFace& loss, const Samples& samples, const Numbers& moving) {
  const at::Tensor lengths = samples.lengths.detach().clamp(0.001, 100);
  const at::Tensor k = (loss.h * (lengths - moving[0]) / (moving[1] + 1e-3)).clamp(-1, 1);
  const at::Tensor theta = samples.cosines.clamp(-1 + 1e-3, 1 - 1e-3).acos();
  return (theta - loss.m * k).clamp(1e-3, M_PI - 1e-3).cos() - loss.m * (1 + k);
}
inline void follow(const AdaFace& loss, const Samples& samples, Numbers& moving) {
  const at::Tensor lengths =
      samples.lengths.detach().masked_select(samples.valid > 0).clamp(0.001, 100);
  if (lengths.numel() == 0) return;
  moving[0] = loss.rate * lengths.mean().item<double>() + (1 - loss.rate) * moving[0];
  if (lengths.numel() > 1)
    moving[1] = loss.rate * lengths.std().item<double>() + (1 - loss.rate) * moving[1];
}

inline at::Tensor own(const CurricularFace& loss, const Samples& samples, const Numbers&) {
  return arcface(samples.cosines, loss.m);
}
inline void follow(const CurricularFace&, const Samples& samples, Numbers& moving) {
  const at::Tensor cosines = samples.cosines.detach().masked_select(samples.valid > 0);
  if (cosines.numel() == 0) return;
  moving[0] = 0.01 * cosines.mean().item<double>() + 0.99 * moving[0];
}
inline at::Tensor others(const CurricularFace& loss, const at::Tensor& cosines,
                         const Samples& samples, const Numbers& moving) {
  const at::Tensor bound =
      (samples.cosines.detach().clamp(-1, 1).acos() + loss.m).cos().unsqueeze(1);
  return at::where(cosines > bound, cosines * (moving[0] + cosines), cosines);
}

inline at::Tensor own(const ElasticFace& loss, const Samples& samples, const Numbers&) {
  const at::Tensor m = loss.m + loss.sigma * samples.normals;
  return loss.on == ElasticFace::On::kCosine ? samples.cosines - m : arcface(samples.cosines, m);
}

inline at::Tensor own(const MagFace& loss, const Samples& samples, const Numbers&) {
  const at::Tensor a = samples.lengths.clamp(loss.l_a, loss.u_a);
  const at::Tensor m = (loss.u_m - loss.l_m) / (loss.u_a - loss.l_a) * (a - loss.l_a) + loss.l_m;
  return at::where(samples.cosines > 0, (samples.cosines.clamp(-1, 1).acos() + m).cos(),
                   samples.cosines);
}
inline at::Tensor penalty(const MagFace& loss, const at::Tensor& lengths) {
  const at::Tensor a = lengths.clamp(loss.l_a, loss.u_a);
  return loss.lambda * (a / (loss.u_a * loss.u_a) + 1 / a);
}

inline at::Tensor own(const SubCenterArcFace& loss, const Samples& samples, const Numbers&) {
  return arcface(samples.cosines, loss.m);
}

}  // namespace pfc::reference
