#pragma once

#include <algorithm>
#include <limits>
#include <variant>

#include "head/kernels/kernels_cuda_device.h"

/// Which of a tile's cosines count, and what the loss makes of them.
namespace pfc::kernels::cuda {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What becomes of the cosines of other classes: `of` gives what is asked for one sample's.

struct AsTheyAre {
  static constexpr bool kBends = false;
  __device__ AsTheyAre of(std::int64_t) const { return {}; }
};
template <class L>
struct BentOfSample {
  static constexpr bool kBends = true;
  L loss;
  float bound;
  Moving<L> moving;
  __device__ OtherCosine operator()(float cosine) const {
    return loss.other(cosine, bound, moving);
  }
};
template <class L>
struct Bent {
  L loss;
  const float* bounds;
  const double* moving;
  __device__ BentOfSample<L> of(std::int64_t i) const {
    return {loss, bounds[i], moving_numbers<L>(moving)};
  }
};

/// Calls body with one of them. Losses that bend nothing share one.
template <class Body>
void with_others(const Loss& loss, const Logits& logits, const Body& body) {
  std::visit(
      [&]<class L>(const L& one) {
        if constexpr (kLossBends<L>) {
          body(Bent<L>{one, logits.bounds, logits.moving});
        } else {
          body(AsTheyAre());
        }
      },
      loss);
}

/// Which columns of a sample's row count: those with a class, not the sample's own, not above the
/// filter. The others' cosines become −∞.
struct CountedColumns {
  int count, own, own_end;  ///< columns; the sample's own ones, or outside of them
  float threshold;

  __device__ CountedColumns(const TileShape& tile, const Logits& logits,
                            const std::int32_t* targets, std::int64_t i)
      : count(static_cast<int>(std::clamp<std::int64_t>(
            tile.classes.step->count - tile.classes.begin, 0, tile.classes.size))),
        own(targets[i] < 0 ? -1 : static_cast<int>(targets[i] - tile.classes.begin)),
        own_end(targets[i] < 0 ? -1 : own + static_cast<int>(logits.centers)),
        threshold(logits.filter) {}

  __device__ bool filters() const { return threshold < 1; }  // otherwise all are below it
  /// Whether some of n columns from j on do not count, whatever their cosines.
  __device__ bool leaves_out(int j, int n) const {
    return (own < j + n && own_end > j) || j + n > count;
  }
  __device__ float below(float cosine) const { return cosine > threshold ? -kInfinity : cosine; }
  __device__ float at(float z, int j) const {
    return (j >= own && j < own_end) || j >= count ? -kInfinity : z;
  }
  /// Of four columns from j on.
  __device__ float4 operator()(float4 z, int j) const {
    if (filters()) z = {below(z.x), below(z.y), below(z.z), below(z.w)};
    if (leaves_out(j, 4)) z = {at(z.x, j), at(z.y, j + 1), at(z.z, j + 2), at(z.w, j + 3)};
    return z;
  }
};

}  // namespace pfc::kernels::cuda
