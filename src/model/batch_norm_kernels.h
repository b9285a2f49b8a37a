#pragma once

#include <cstdint>
#include <span>

// The loops of a batch normalisation in training, followed by a PReLU, over rows of `channels`
// values (an image in channels_last has one row for each pixel). They are vectorised for the
// processor they run on; threads take shares of the rows.
namespace pfc::kernels {

/// `channels` must be a multiple of this.
inline constexpr std::int64_t kChannelStep = 16;

/// y = z > 0 ? z : slope·z with z = (x − mean)·scale + bias, where scale = weight / √(variance +
/// ε); each [channels].
struct NormPRelu {
  const float* mean;
  const float* scale;
  const float* bias;
  const float* slope;
};

struct Rows {
  std::int64_t count;
  std::int64_t channels;
};

/// Adds Σ (x − origin) and Σ (x − origin)² over the rows to sum and sum_square [channels]. With an
/// `origin` near the mean, the difference of the two does not cancel.
void add_moments(const float* x, Rows rows, const float* origin, double* sum, double* sum_square);

void norm_prelu(const float* x, Rows rows, const NormPRelu& f, float* y);

/// With g = dy·(z > 0 ? 1 : slope), the gradient of z: adds Σ g, Σ g·(x − mean) and the slope's Σ
/// dy·min(z, 0).
void add_gradient_sums(const float* x, const float* dy, Rows rows, const NormPRelu& f,
                       double* sum_g, double* sum_gx, double* sum_slope);

/// dx = g·scale + (x − mean)·along_x + constant; along_x and constant carry the gradient through
/// variance and mean.
void input_gradient(const float* x, const float* dy, Rows rows, const NormPRelu& f,
                    const float* along_x, const float* constant, float* dx);

}  // namespace pfc::kernels
