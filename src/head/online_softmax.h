#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>

namespace pfc {

/// Of a class that does not count; and the maximum over none.
inline constexpr float kNoLogit = -std::numeric_limits<float>::infinity();

/// The softmax of N samples over classes that are met tile by tile, and its gradient by the
/// samples, for one thread (online softmax: Milakov and Gimelshein, arXiv 1805.02867). Where a tile
/// holds a larger logit than all before it, what was summed so far shrinks by the difference.
struct OnlineSoftmax {
  at::Tensor maximum;       ///< [N] of the logits met so far
  at::Tensor sum;           ///< [N] of exp(logit − maximum)
  at::Tensor d_embeddings;  ///< [N, d] sum of exp(logit − maximum) · unit centre

  OnlineSoftmax(std::int64_t samples, std::int64_t dim);

  void clear();
  /// A tile of classes: cosines [classes, N], −∞ where one does not count, become exp(scale ·
  /// cosine − maximum), with the maximum of now; unit [classes, d].
  void add(const at::Tensor& cosines, const at::Tensor& unit, double scale);
  /// As if this one had met the other's classes too.
  void merge(const OnlineSoftmax& other);

 private:
  /// Raises the maximum of a sample to `largest`; what was summed follows.
  void raise(std::int64_t sample, float largest);

  at::Tensor scratch_;  ///< [N]
};

}  // namespace pfc
