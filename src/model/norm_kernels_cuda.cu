#include <algorithm>
#include <cmath>
#include <type_traits>

#include "head/kernels/kernels_cuda_device.h"
#include "model/norm_kernels_cuda.h"

namespace pfc::kernels::cuda {
namespace {

constexpr int kNormThreads = 256;

/// How threads share the rows. `lanes` threads side by side have eight channels each; a block has
/// as many rows at once as fit, and goes over its part of them. More channels than a block has are
/// cut into slices, each with blocks of its own.
struct NormGrid {
  int lanes = 0, lines = 0, slices = 0;
  std::int64_t rows_a_part = 0, parts = 0;

  unsigned blocks() const { return static_cast<unsigned>(parts * slices); }
};

NormGrid grid_of(NormRows rows) {
  constexpr std::int64_t kMostLanes = 32, kMostBlocks = 1024, kLeastTurns = 8;
  const std::int64_t groups = rows.channels / kNormWidth, slices = ceil_divide(groups, kMostLanes);
  const std::int64_t lanes = ceil_divide(groups, slices), lines = kNormThreads / lanes;
  const std::int64_t most_parts = std::max<std::int64_t>(1, kMostBlocks / slices);
  const std::int64_t rows_a_part =
      std::max(lines * kLeastTurns, ceil_divide(rows.count, most_parts));
  return {static_cast<int>(lanes), static_cast<int>(lines), static_cast<int>(slices), rows_a_part,
          ceil_divide(rows.count, rows_a_part)};
}

/// This thread's rows and channels.
struct NormPlace {
  std::int64_t part, begin, end;
  int step;
  std::int64_t channel;
  bool works;

  __device__ NormPlace(const NormGrid& grid, const NormRows& rows) : step(grid.lines) {
    const int lane = static_cast<int>(threadIdx.x) % grid.lanes;
    const int line = static_cast<int>(threadIdx.x) / grid.lanes;
    const int slice = static_cast<int>(blockIdx.x) % grid.slices;
    part = blockIdx.x / grid.slices;
    channel = (std::int64_t{slice} * grid.lanes + lane) * kNormWidth;
    works = line < grid.lines && channel < rows.channels;
    begin = part * grid.rows_a_part + line;
    const std::int64_t after = (part + 1) * grid.rows_a_part;
    end = after < rows.count ? after : rows.count;
  }

  /// Calls f(i) for the place i of each of its rows' eight channels.
  template <class F>
  __device__ void each(const NormRows& rows, const F& f) const {
    if (!works) return;
#pragma unroll 2  // so that as many loads are requested at once
    for (std::int64_t row = begin; row < end; row += step) f(row * rows.channels + channel);
  }
};

// Eight numbers in memory, of any type.

struct Eight {
  float v[kNormWidth];

  __device__ float operator[](int k) const { return v[k]; }
  __device__ float& operator[](int k) { return v[k]; }
};
template <class F>
__device__ Eight eight(const F& f) {
  Eight x;
#pragma unroll
  for (int k = 0; k < kNormWidth; ++k) x[k] = f(k);
  return x;
}
__device__ Eight join(float4 a, float4 b) {
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}
__device__ Eight load8(const float* at) {
  return join(load4(at), load4(at + 4));
}
__device__ Eight load8(const __nv_bfloat16* at) {
  const uint4 bits = *reinterpret_cast<const uint4*>(at);
  return join(from_bits({bits.x, bits.y}), from_bits({bits.z, bits.w}));
}
__device__ Eight load8(const __half* at) {
  const uint4 bits = *reinterpret_cast<const uint4*>(at);
  const auto pair = [](const unsigned& two) {
    return __half22float2(*reinterpret_cast<const __half2*>(&two));
  };
  const float2 a = pair(bits.x), b = pair(bits.y), c = pair(bits.z), d = pair(bits.w);
  return {{a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y}};
}
/// Null: zeros.
__device__ Eight channels8(const float* of, std::int64_t channel) {
  return of == nullptr ? Eight{} : load8(of + channel);
}

/// What is left of the numbers when they are stored.
__device__ Eight rounded(const float*, const Eight& x) {
  return x;
}
__device__ Eight rounded(const __nv_bfloat16*, const Eight& x) {
  return eight([&](int k) { return __bfloat162float(__float2bfloat16_rn(x[k])); });
}
__device__ Eight rounded(const __half*, const Eight& x) {
  return eight([&](int k) { return __half2float(__float2half_rn(x[k])); });
}

template <class T>
__device__ void store8(T* at, const Eight& x) {
  store4(at, {x[0], x[1], x[2], x[3]});
  store4(at + 4, {x[4], x[5], x[6], x[7]});
}

/// This thread's sums for its eight channels.
template <int kKinds>
struct NormSums {
  Eight of[kKinds] = {};

  /// Adds those of the block's rows and stores them as its part.
  __device__ void store(const NormGrid& grid, const NormRows& rows, const NormPlace& place,
                        float* parts) const {
    __shared__ float shared[kNormThreads * kNormWidth];
    const int width = grid.lanes * static_cast<int>(kNormWidth);
    const std::int64_t first = place.channel - threadIdx.x % grid.lanes * kNormWidth;
    for (int kind = 0; kind < kKinds; ++kind) {
      for (int k = 0; k < kNormWidth; ++k) shared[threadIdx.x * kNormWidth + k] = of[kind][k];
      __syncthreads();
      for (int c = static_cast<int>(threadIdx.x); c < width; c += kNormThreads) {
        double sum = 0;
        for (int line = 0; line < grid.lines; ++line) sum += double{shared[line * width + c]};
        if (first + c < rows.channels)
          parts[(place.part * kKinds + kind) * rows.channels + first + c] = static_cast<float>(sum);
      }
      __syncthreads();  // all have read what the next kind overwrites
    }
  }
};

/// A normalisation of eight channels.
struct NormOfEight {
  Eight mean, scale, bias, slope;
  bool bends;

  __device__ NormOfEight(const Norm& norm, std::int64_t channel)
      : mean(load8(norm.mean + channel)),
        scale(load8(norm.scale + channel)),
        bias(load8(norm.bias + channel)),
        slope(channels8(norm.slope, channel)),
        bends(norm.slope != nullptr) {}

  __device__ float z(const Eight& x, int k) const {
    return fmaf(x[k] - mean[k], scale[k], bias[k]);
  }
  __device__ Eight operator()(const Eight& x) const {
    return eight([&](int k) {
      const float of_x = z(x, k);
      return bends && of_x <= 0 ? slope[k] * of_x : of_x;
    });
  }
  /// The gradient of z.
  __device__ float dz(const Eight& x, const Eight& dy, int k) const {
    return bends && z(x, k) <= 0 ? slope[k] * dy[k] : dy[k];
  }
};

__device__ void add_moments_of(const Eight& x, const Eight& origin, NormSums<2>& sums) {
#pragma unroll
  for (int k = 0; k < kNormWidth; ++k) {
    const float from_origin = x[k] - origin[k];
    sums.of[0][k] += from_origin;
    sums.of[1][k] = fmaf(from_origin, from_origin, sums.of[1][k]);
  }
}

template <class T>
__global__ void __launch_bounds__(kNormThreads)
    add_moments_kernel(NormGrid grid, NormRows rows, const T* __restrict__ x, float* parts) {
  const NormPlace place(grid, rows);
  NormSums<2> sums;
  if (place.works) {
    const Eight origin = load8(x + place.channel);
    place.each(rows, [&](std::int64_t i) { add_moments_of(load8(x + i), origin, sums); });
  }
  sums.store(grid, rows, place, parts);
}

template <class T, class HasParts>
__global__ void __launch_bounds__(kNormThreads)
    normalise_kernel(NormGrid grid, NormRows rows, const T* __restrict__ x, Norm norm,
                     const T* __restrict__ residual, T* __restrict__ y, float* parts, HasParts) {
  const NormPlace place(grid, rows);
  NormSums<2> sums;
  if (place.works) {
    const NormOfEight normalised(norm, place.channel);
    const auto value = [&](std::int64_t i) {
      Eight v = normalised(load8(x + i));
      if (residual != nullptr) {
        const Eight more = load8(residual + i);
        v = eight([&](int k) { return v[k] + more[k]; });
      }
      return rounded(y, v);
    };
    const Eight origin = HasParts::value ? value(place.channel) : Eight{};
    place.each(rows, [&](std::int64_t i) {
      const Eight v = value(i);
      store8(y + i, v);
      if constexpr (HasParts::value) add_moments_of(v, origin, sums);
    });
  }
  if constexpr (HasParts::value) sums.store(grid, rows, place, parts);
}

template <class T, class Kinds>
__global__ void __launch_bounds__(kNormThreads)
    add_gradient_sums_kernel(NormGrid grid, NormRows rows, const T* __restrict__ x,
                             const T* __restrict__ dy, Norm norm, float* parts, Kinds) {
  constexpr int kKinds = Kinds::value;
  const NormPlace place(grid, rows);
  NormSums<kKinds> sums;
  if (place.works) {
    const NormOfEight f(norm, place.channel);
    place.each(rows, [&](std::int64_t i) {
      const Eight in = load8(x + i), out = load8(dy + i);
#pragma unroll
      for (int k = 0; k < kNormWidth; ++k) {
        const float dz = f.dz(in, out, k);
        sums.of[0][k] += dz;
        sums.of[1][k] = fmaf(dz, in[k] - f.mean[k], sums.of[1][k]);
        if constexpr (kKinds == 3)
          sums.of[2][k] = fmaf(out[k], fminf(f.z(in, k), 0.0f), sums.of[2][k]);
      }
    });
  }
  sums.store(grid, rows, place, parts);
}

template <class T, class HasBefore>
__global__ void __launch_bounds__(kNormThreads)
    input_gradient_kernel(NormGrid grid, NormRows rows, const T* __restrict__ x,
                          const T* __restrict__ dy, Norm norm, NormGradient gradient,
                          const T* __restrict__ more, T* __restrict__ dx, NormBefore before,
                          HasBefore) {
  const NormPlace place(grid, rows);
  NormSums<2> sums;
  if (place.works) {
    const NormOfEight f(norm, place.channel);
    const Eight along_x = load8(gradient.along_x + place.channel);
    const Eight constant = load8(gradient.constant + place.channel);
    const Eight mean_before = channels8(before.mean, place.channel);
    const T* const x_before = static_cast<const T*>(before.x);
    place.each(rows, [&](std::int64_t i) {
      const Eight in = load8(x + i), out = load8(dy + i);
      const Eight others = more == nullptr ? Eight{} : load8(more + i);
      const Eight d = rounded(dx, eight([&](int k) {
                                const float through =
                                    fmaf(in[k] - f.mean[k], along_x[k], constant[k]);
                                return fmaf(f.dz(in, out, k), f.scale[k], through) + others[k];
                              }));
      store8(dx + i, d);
      if constexpr (HasBefore::value) {
        const Eight in_before = load8(x_before + i);
#pragma unroll
        for (int k = 0; k < kNormWidth; ++k) {
          sums.of[0][k] += d[k];
          sums.of[1][k] = fmaf(d[k], in_before[k] - mean_before[k], sums.of[1][k]);
        }
      }
    });
  }
  if constexpr (HasBefore::value) sums.store(grid, rows, place, before.parts);
}

// ---- What becomes of the sums, for each channel

/// A block adds the parts of so many channels, with several threads for each.
constexpr int kJoined = 32, kJoiners = kNormThreads / kJoined;

/// Calls f(channel, totals) for each channel, in one of its threads.
template <int kKinds, class F>
__device__ void with_totals(const float* parts, std::int64_t count, std::int64_t channels,
                            const F& f) {
  __shared__ double shared[kKinds][kNormThreads];
  const int column = static_cast<int>(threadIdx.x) % kJoined;
  const int line = static_cast<int>(threadIdx.x) / kJoined;
  const std::int64_t channel = std::int64_t{blockIdx.x} * kJoined + column;
  double sums[kKinds] = {};
  if (channel < channels) {
    for (std::int64_t part = line; part < count; part += kJoiners) {
      for (int kind = 0; kind < kKinds; ++kind)
        sums[kind] += double{parts[(part * kKinds + kind) * channels + channel]};
    }
  }
  for (int kind = 0; kind < kKinds; ++kind) shared[kind][threadIdx.x] = sums[kind];
  __syncthreads();
  if (line != 0 || channel >= channels) return;
  for (int kind = 0; kind < kKinds; ++kind) {
    sums[kind] = 0;
    for (int other = 0; other < kJoiners; ++other)
      sums[kind] += shared[kind][other * kJoined + column];
  }
  f(channel, sums);
}

/// The mean and the mean squared deviation of a channel.
struct Moments {
  double mean = 0, variance = 0;
};

template <class T>
__device__ Moments moments_of(const T* x, std::int64_t channel, double count,
                              const double (&sums)[2]) {
  const double from_origin = sums[0] / count;
  const double variance = sums[1] / count - from_origin * from_origin;
  // Written so that a NaN stays one.
  return {double{static_cast<float>(x[channel])} + from_origin, variance < 0 ? 0 : variance};
}

__device__ void set_norm(std::int64_t c, const Moments& moments, double count,
                         const NormState& state, const Norm& norm) {
  const auto move = [&](float& running, double to) {
    running += static_cast<float>(state.momentum * (to - double{running}));
  };
  move(state.running_mean[c], moments.mean);
  move(state.running_var[c], moments.variance * (count / (count - 1)));
  const double inverse = 1 / std::sqrt(moments.variance + state.epsilon);
  norm.mean[c] = static_cast<float>(moments.mean);
  norm.inverse[c] = static_cast<float>(inverse);
  norm.scale[c] = static_cast<float>(double{state.weight[c]} * inverse);
  norm.count[c] = static_cast<float>(count);
}

template <class T>
__global__ void find_norm_kernel(const T* x, NormRows rows, const float* parts, std::int64_t count,
                                 NormState state, Norm norm) {
  const auto all = static_cast<double>(rows.count);
  with_totals<2>(parts, count, rows.channels, [&](std::int64_t c, const double(&sums)[2]) {
    set_norm(c, moments_of(x, c, all, sums), all, state, norm);
  });
}

template <class T>
__global__ void join_moments_kernel(const T* x, NormRows rows, const float* parts,
                                    std::int64_t count, double* moments) {
  const auto all = static_cast<double>(rows.count);
  with_totals<2>(parts, count, rows.channels, [&](std::int64_t c, const double(&sums)[2]) {
    const Moments own = moments_of(x, c, all, sums);
    moments[c] = own.mean;
    moments[rows.channels + c] = own.variance;
    if (c == 0) moments[2 * rows.channels] = all;
  });
}

__global__ void find_norm_of_ranks_kernel(const double* moments, std::int64_t world,
                                          std::int64_t channels, NormState state, Norm norm) {
  const std::int64_t c = std::int64_t{blockIdx.x} * kNormThreads + threadIdx.x;
  if (c >= channels) return;
  const auto of = [&](std::int64_t rank, std::int64_t what) {
    return moments[rank * (2 * channels + 1) + what];
  };
  double count = 0, sum = 0;
  for (std::int64_t rank = 0; rank < world; ++rank) {
    count += of(rank, 2 * channels);
    sum += of(rank, 2 * channels) * of(rank, c);
  }
  Moments joined{sum / count, 0};
  for (std::int64_t rank = 0; rank < world; ++rank) {
    const double apart = of(rank, c) - joined.mean;
    joined.variance += of(rank, 2 * channels) / count * (of(rank, channels + c) + apart * apart);
  }
  set_norm(c, joined, count, state, norm);
}

/// `own` and `all` are the sums of this rank and of all.
template <int kKinds>
__device__ void set_gradient(std::int64_t c, const double (&own)[kKinds],
                             const double (&all)[kKinds], const Norm& norm,
                             const NormGradient& gradient) {
  const double inverse = norm.inverse[c], scale = norm.scale[c], count = norm.count[c];
  gradient.bias[c] = static_cast<float>(own[0]);
  gradient.weight[c] = static_cast<float>(own[1] * inverse);
  if constexpr (kKinds == 3) gradient.slope[c] = static_cast<float>(own[2]);
  gradient.constant[c] = static_cast<float>(-scale * all[0] / count);
  gradient.along_x[c] = static_cast<float>(-scale * inverse * inverse * all[1] / count);
}

template <class Kinds>
__global__ void find_gradient_kernel(const float* parts, std::int64_t count, std::int64_t channels,
                                     Norm norm, NormGradient gradient, Kinds) {
  constexpr int kKinds = Kinds::value;
  with_totals<kKinds>(parts, count, channels, [&](std::int64_t c, const double(&sums)[kKinds]) {
    set_gradient(c, sums, sums, norm, gradient);
  });
}

template <class Kinds>
__global__ void join_gradient_sums_kernel(const float* parts, std::int64_t count,
                                          std::int64_t channels, double* joined, Kinds) {
  constexpr int kKinds = Kinds::value;
  with_totals<kKinds>(parts, count, channels, [&](std::int64_t c, const double(&sums)[kKinds]) {
    for (int kind = 0; kind < kKinds; ++kind) joined[kind * channels + c] = sums[kind];
  });
}

template <class Kinds>
__global__ void find_gradient_of_ranks_kernel(const double* own, const double* all,
                                              std::int64_t channels, Norm norm,
                                              NormGradient gradient, Kinds) {
  constexpr int kKinds = Kinds::value;
  const std::int64_t c = std::int64_t{blockIdx.x} * kNormThreads + threadIdx.x;
  if (c >= channels) return;
  double of_own[kKinds], of_all[kKinds];
  for (int kind = 0; kind < kKinds; ++kind) {
    of_own[kind] = own[kind * channels + c];
    of_all[kind] = all[kind * channels + c];
  }
  set_gradient(c, of_own, of_all, norm, gradient);
}

template <class Body>
void with_kinds(int kinds, const Body& body) {
  if (kinds == 3) return body(std::integral_constant<int, 3>());
  body(std::integral_constant<int, 2>());
}
int kinds_of(const Norm& norm) {
  return norm.slope == nullptr ? 2 : 3;
}

/// Calls body with `flag` as a constant.
template <class Body>
void with_flag(bool flag, const Body& body) {
  if (flag) return body(std::true_type());
  body(std::false_type());
}

}  // namespace

std::int64_t norm_parts(NormRows rows) {
  return grid_of(rows).parts;
}

void add_moments(Operand x, NormRows rows, float* parts, Stream stream) {
  const NormGrid grid = grid_of(rows);
  with_type(x, [&](const auto* in) {
    add_moments_kernel<<<grid.blocks(), kNormThreads, 0, stream>>>(grid, rows, in, parts);
  });
  check_launch("add_moments");
}

void find_norm(Operand x, NormRows rows, const float* parts, const NormState& state,
               const Norm& norm, Stream stream) {
  with_type(x, [&](const auto* in) {
    find_norm_kernel<<<blocks_for(rows.channels, kJoined), kNormThreads, 0, stream>>>(
        in, rows, parts, norm_parts(rows), state, norm);
  });
  check_launch("find_norm");
}

void join_moments(Operand x, NormRows rows, const float* parts, double* moments, Stream stream) {
  with_type(x, [&](const auto* in) {
    join_moments_kernel<<<blocks_for(rows.channels, kJoined), kNormThreads, 0, stream>>>(
        in, rows, parts, norm_parts(rows), moments);
  });
  check_launch("join_moments");
}

void find_norm_of_ranks(const double* moments, std::int64_t world, std::int64_t channels,
                        const NormState& state, const Norm& norm, Stream stream) {
  find_norm_of_ranks_kernel<<<blocks_for(channels, kNormThreads), kNormThreads, 0, stream>>>(
      moments, world, channels, state, norm);
  check_launch("find_norm_of_ranks");
}

void normalise(Operand x, NormRows rows, const Norm& norm, const void* residual, void* y,
               float* parts, Stream stream) {
  const NormGrid grid = grid_of(rows);
  with_type(x, [&]<class T>(T* in) {
    with_flag(parts != nullptr, [&](auto has_parts) {
      normalise_kernel<<<grid.blocks(), kNormThreads, 0, stream>>>(
          grid, rows, static_cast<const T*>(in), norm, static_cast<const T*>(residual),
          static_cast<T*>(y), parts, has_parts);
    });
  });
  check_launch("normalise");
}

void add_gradient_sums(Operand x, const void* dy, NormRows rows, const Norm& norm, float* parts,
                       Stream stream) {
  const NormGrid grid = grid_of(rows);
  with_type(x, [&]<class T>(T* in) {
    with_kinds(kinds_of(norm), [&](auto kinds) {
      add_gradient_sums_kernel<<<grid.blocks(), kNormThreads, 0, stream>>>(
          grid, rows, static_cast<const T*>(in), static_cast<const T*>(dy), norm, parts, kinds);
    });
  });
  check_launch("add_gradient_sums");
}

void find_gradient(NormRows rows, const float* parts, const Norm& norm,
                   const NormGradient& gradient, Stream stream) {
  with_kinds(kinds_of(norm), [&](auto kinds) {
    find_gradient_kernel<<<blocks_for(rows.channels, kJoined), kNormThreads, 0, stream>>>(
        parts, norm_parts(rows), rows.channels, norm, gradient, kinds);
  });
  check_launch("find_gradient");
}

void join_gradient_sums(NormRows rows, const float* parts, int kinds, double* sums, Stream stream) {
  with_kinds(kinds, [&](auto constant) {
    join_gradient_sums_kernel<<<blocks_for(rows.channels, kJoined), kNormThreads, 0, stream>>>(
        parts, norm_parts(rows), rows.channels, sums, constant);
  });
  check_launch("join_gradient_sums");
}

void find_gradient_of_ranks(const double* own, const double* all, std::int64_t channels,
                            const Norm& norm, const NormGradient& gradient, Stream stream) {
  with_kinds(kinds_of(norm), [&](auto kinds) {
    find_gradient_of_ranks_kernel<<<blocks_for(channels, kNormThreads), kNormThreads, 0, stream>>>(
        own, all, channels, norm, gradient, kinds);
  });
  check_launch("find_gradient_of_ranks");
}

void input_gradient(Operand x, const void* dy, NormRows rows, const Norm& norm,
                    const NormGradient& gradient, const void* more, void* dx,
                    const NormBefore& before, Stream stream) {
  const NormGrid grid = grid_of(rows);
  with_type(x, [&]<class T>(T* in) {
    with_flag(before.x != nullptr, [&](auto has_before) {
      input_gradient_kernel<<<grid.blocks(), kNormThreads, 0, stream>>>(
          grid, rows, static_cast<const T*>(in), static_cast<const T*>(dy), norm, gradient,
          static_cast<const T*>(more), static_cast<T*>(dx), before, has_before);
    });
  });
  check_launch("input_gradient");
}

}  // namespace pfc::kernels::cuda
