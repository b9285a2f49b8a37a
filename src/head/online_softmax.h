#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>

#include "head/kernels/kernels.h"

namespace pfc {

/// The logit of a class that does not count, and the maximum over no classes.
inline constexpr float kNoLogit = -std::numeric_limits<float>::infinity();

/// The softmax of N samples over classes that come tile by tile, and its gradient by the samples,
/// for one thread (online softmax: Milakov and Gimelshein, arXiv 1805.02867). If a tile holds a
/// larger logit than all before it, the sums so far shrink accordingly.
///
/// Millions of classes are many small terms. So `sum` is float64. The gradient is float32, and each
/// block of tiles is summed separately before it is added.
struct OnlineSoftmax {
  at::Tensor maximum;       ///< [N] float32, of the logits met so far
  at::Tensor sum;           ///< [N] float64, of exp(logit − maximum)
  at::Tensor d_embeddings;  ///< [N, d] float32, sum of exp(logit − maximum) · unit centre; complete
                            ///< after `finish`

  /// `block` [N, d] float32 is working memory for this object until `finish`.
  explicit OnlineSoftmax(at::Tensor block);

  void clear();
  /// A tile of classes: cosines [classes, N], −∞ where one does not count, become what
  /// kernels::exp_columns makes of them, with the maximum of now as the shift; unit [classes, d].
  void add(const at::Tensor& cosines, const at::Tensor& unit, double scale,
           const kernels::Others& others = {});
  /// Call it after the last tile.
  void finish();
  /// Adds the other's classes to this one. Both must be finished.
  void merge(const OnlineSoftmax& other);

 private:
  /// Raises the maximum of a sample to `largest` and rescales its sums.
  void raise(std::int64_t sample, float largest);
  void end_block();

  at::Tensor block_;  ///< [N, d] what the current block of tiles adds to d_embeddings
  std::int64_t tiles_in_block_ = 0;
  at::Tensor scratch_;  ///< [N]
};

}  // namespace pfc
