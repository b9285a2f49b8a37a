#pragma once

#include <cstdint>
#include <span>

namespace pfc {

/// The cosine of two unit vectors, exact but for float64's rounding, and the same wherever and in
/// whatever order it is computed.
double exact_score(std::span<const float> a, std::span<const float> b);

/// Divides a vector by its L2 norm, which is summed up in float64; zeros stay zeros. False where a
/// value or the norm is not finite.
bool normalise(std::span<float> vector);

}  // namespace pfc
