#include <algorithm>

#include "model/batch_norm_kernels.h"

// Replaces batch_norm_kernels.cpp if there is no Highway: one scalar at a time.

namespace pfc::kernels {
namespace {

/// Calls f(place, channel) for every value.
template <class F>
void each_value(Rows rows, F f) {
  for (std::int64_t i = 0; i < rows.count * rows.channels; ++i) f(i, i % rows.channels);
}

/// The steps of NormPRelu for one value, and its gradient.
struct Point {
  float centred, z, slope;

  Point(const NormPRelu& f, float x, std::int64_t c)
      : centred(x - f.mean[c]), z(centred * f.scale[c] + f.bias[c]), slope(f.slope[c]) {}
  float value() const { return z > 0 ? z : slope * z; }
  float gradient(float dy) const { return z > 0 ? dy : slope * dy; }
};

}  // namespace

void add_moments(const float* x, Rows rows, const float* origin, double* sum, double* sum_square) {
  each_value(rows, [&](std::int64_t i, std::int64_t c) {
    const double v = static_cast<double>(x[i]) - static_cast<double>(origin[c]);
    sum[c] += v;
    sum_square[c] += v * v;
  });
}

void norm_prelu(const float* x, Rows rows, const NormPRelu& f, float* y) {
  each_value(rows, [&](std::int64_t i, std::int64_t c) { y[i] = Point(f, x[i], c).value(); });
}

void add_gradient_sums(const float* x, const float* dy, Rows rows, const NormPRelu& f,
                       double* sum_g, double* sum_gx, double* sum_slope) {
  each_value(rows, [&](std::int64_t i, std::int64_t c) {
    const Point point(f, x[i], c);
    const float g = point.gradient(dy[i]);
    sum_g[c] += static_cast<double>(g);
    sum_gx[c] += static_cast<double>(g * point.centred);
    sum_slope[c] += static_cast<double>(dy[i] * std::min(point.z, 0.0f));
  });
}

void input_gradient(const float* x, const float* dy, Rows rows, const NormPRelu& f,
                    const float* along_x, const float* constant, float* dx) {
  each_value(rows, [&](std::int64_t i, std::int64_t c) {
    const Point point(f, x[i], c);
    dx[i] = point.gradient(dy[i]) * f.scale[c] + point.centred * along_x[c] + constant[c];
  });
}

}  // namespace pfc::kernels
