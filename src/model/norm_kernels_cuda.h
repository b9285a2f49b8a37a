#pragma once

#include <cstdint>

#include "head/kernels/kernels_cuda.h"

/// Batch normalisation in training on a GPU: passes over maps in channels_last, whose rows are
/// pixels, or over rows of embeddings. Maps are of float32, bfloat16 or float16; all other numbers
/// are float32 or wider. A map is read and written once in each pass:
///
///     forward   add_moments        x
///               normalise          x, (residual) -> y, (its moments)
///     backward  add_gradient_sums  x, dy
///               input_gradient     x, dy, (more) -> dx, (sums for the normalisation before)
///
/// Sums are made in parts. A thread adds at most some hundred rows in float32; what follows is
/// added in float64. Parts and orders depend on the sizes alone, so equal inputs give equal bits.
namespace pfc::kernels::cuda {

/// Channels are a multiple of this.
inline constexpr std::int64_t kNormWidth = 8;

struct NormRows {
  std::int64_t count = 0, channels = 0;
};
/// How many parts the sums over the rows have.
std::int64_t norm_parts(NormRows rows);

/// z = (x − mean)·scale + bias with scale = weight·inverse, and y = z > 0 ? z : slope·z; each
/// [channels].
struct Norm {
  float* mean = nullptr;
  float* scale = nullptr;
  float* inverse = nullptr;  ///< 1 / √(variance + ε)
  float* count = nullptr;    ///< of the rows of all ranks, the same for every channel
  const float* bias = nullptr;
  const float* slope = nullptr;  ///< null: y = z
};

/// What a normalisation keeps, and how it moves.
struct NormState {
  const float* weight = nullptr;
  float *running_mean = nullptr, *running_var = nullptr;
  double momentum = 0, epsilon = 0;
};

/// parts [parts, 2, channels] = Σ (x − o) and Σ (x − o)², where o is the first row: so nothing
/// cancels when the mean is far from 0.
void add_moments(Operand x, NormRows rows, float* parts, Stream stream);
/// All of norm but bias and slope, and the running moments, from the parts of one rank.
void find_norm(Operand x, NormRows rows, const float* parts, const NormState& state,
               const Norm& norm, Stream stream);
/// moments [2·channels + 1] = mean, variance (mean squared deviation), count: what ranks gather.
void join_moments(Operand x, NormRows rows, const float* parts, double* moments, Stream stream);
/// The same as find_norm from moments [world, 2·channels + 1] (Chan et al., "Updating formulae and
/// a pairwise algorithm", 1979).
void find_norm_of_ranks(const double* moments, std::int64_t world, std::int64_t channels,
                        const NormState& state, const Norm& norm, Stream stream);

/// y = the normalised x, plus residual if that is not null. parts [parts, 2, channels], if not
/// null, becomes what add_moments gives for y.
void normalise(Operand x, NormRows rows, const Norm& norm, const void* residual, void* y,
               float* parts, Stream stream);

/// With g = dy·(z > 0 ? 1 : slope), the gradient of z: parts [parts, kinds, channels] = Σ g, Σ
/// g·(x − mean) and, if there is a slope, its Σ dy·min(z, 0). kinds is 3 then, otherwise 2.
void add_gradient_sums(Operand x, const void* dy, NormRows rows, const Norm& norm, float* parts,
                       Stream stream);

/// Gradients, and what the input's gradient is made of; each [channels].
struct NormGradient {
  float* weight = nullptr;
  float* bias = nullptr;
  float* slope = nullptr;     ///< null if there is none
  float* along_x = nullptr;   ///< carries the gradient through the variance
  float* constant = nullptr;  ///< and through the mean
};

/// From the parts of one rank; `kinds` as they have.
void find_gradient(NormRows rows, const float* parts, const Norm& norm,
                   const NormGradient& gradient, Stream stream);
/// sums [kinds, channels] float64: of the parts.
void join_gradient_sums(NormRows rows, const float* parts, int kinds, double* sums, Stream stream);
/// The same as find_gradient from this rank's sums and those of all ranks.
void find_gradient_of_ranks(const double* own, const double* all, std::int64_t channels,
                            const Norm& norm, const NormGradient& gradient, Stream stream);

/// The normalisation that made a part of x, without a slope: its own input and mean.
struct NormBefore {
  const void* x = nullptr;
  const float* mean = nullptr;
  float* parts = nullptr;  ///< [parts, 2, channels] see add_gradient_sums
};

/// dx = g·scale + (x − mean)·along_x + constant, plus `more` if that is not null. With before.x,
/// before.parts becomes the gradient sums of that normalisation for dx.
void input_gradient(Operand x, const void* dy, NormRows rows, const Norm& norm,
                    const NormGradient& gradient, const void* more, void* dx,
                    const NormBefore& before, Stream stream);

}  // namespace pfc::kernels::cuda
