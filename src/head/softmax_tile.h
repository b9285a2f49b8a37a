#pragma once

#include <ATen/core/Tensor.h>

namespace pfc {

// A tile is [classes, batch] float32, contiguous; cosines on the way in. Columns are split among
// threads in a way that does not depend on their number, so neither do the results.

/// Cosines above the threshold become −∞.
void mask_above(const at::Tensor& tile, double threshold);

/// Raises maximum [batch] to the largest scale·cosine of each column.
void raise_maximum(const at::Tensor& tile, double scale, const at::Tensor& maximum);

/// In place, exp(scale·cosine − shift[column]); a shift of −∞ (nothing but masked classes so far)
/// gives 0. Returns the sums [batch] of the columns.
at::Tensor exponentiate(const at::Tensor& tile, double scale, const at::Tensor& shift);

}  // namespace pfc
