#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cmath>
#include <string>

#include "base/ceil_divide.h"
#include "head/kernels/kernels_cuda.h"
#include "pfc/base/error.h"

/// Building blocks of the kernels. A warp processes a row of a table or of embeddings, four numbers
/// in each lane at a time.
namespace pfc::kernels::cuda {

using formulas::BFloat16;
using formulas::RoundingKey;

inline constexpr int kWarp = 32, kRowWarps = 4, kRowThreads = kRowWarps * kWarp;
inline constexpr int kSampleThreads = 256;
inline constexpr unsigned kAllLanes = 0xffffffffu;

inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw Error(std::string(kernel) + ": " + cudaGetErrorString(error));
}

inline unsigned blocks_for(std::int64_t items, std::int64_t per_block) {
  return static_cast<unsigned>(ceil_divide(items, per_block));
}

// Four numbers in memory, of any type.

struct Nothing {};  // a row of zeros that stores nothing

inline __device__ float4 load4(const float* at) {
  return *reinterpret_cast<const float4*>(at);
}
inline __device__ float4 from_bits(uint2 bits) {
  const auto upper = [](unsigned x) { return __uint_as_float(x); };
  return {upper(bits.x << 16), upper(bits.x & 0xffff0000u), upper(bits.y << 16),
          upper(bits.y & 0xffff0000u)};
}

// Data that a step touches only once must not push out of the cache what the next kernel reads.

inline __device__ float4 load4_once(const float* at) {
  return __ldcs(reinterpret_cast<const float4*>(at));
}
inline __device__ float4 load4_once(const BFloat16* at) {
  return from_bits(__ldcs(reinterpret_cast<const uint2*>(at)));
}
inline __device__ float4 load4_once(const Nothing*) {
  return {0, 0, 0, 0};
}

inline __device__ void store4(float* at, float4 x) {
  *reinterpret_cast<float4*>(at) = x;
}
/// Numbers of 16 bits each, two at a time.
inline __device__ void store_pairs(void* at, unsigned first, unsigned second) {
  *static_cast<uint2*>(at) = {first, second};
}
template <class Pair>
__device__ unsigned bits_of(Pair pair) {
  static_assert(sizeof(Pair) == sizeof(unsigned));
  return *reinterpret_cast<const unsigned*>(&pair);
}
inline __device__ void store4(__nv_bfloat16* at, float4 x) {
  store_pairs(at, bits_of(__float22bfloat162_rn({x.x, x.y})),
              bits_of(__float22bfloat162_rn({x.z, x.w})));
}
inline __device__ void store4(__half* at, float4 x) {
  store_pairs(at, bits_of(__float22half2_rn({x.x, x.y})), bits_of(__float22half2_rn({x.z, x.w})));
}
inline __device__ void store4(BFloat16* at, float4 x) {
  store4(reinterpret_cast<__nv_bfloat16*>(at), x);
}

/// bfloat16 is rounded stochastically, by `key` and the components' places from j on. `part`
/// chooses 16 of the 32 random bits, so that a row and its state use different ones.
inline __device__ void round4(float* at, float4 x, const RoundingKey&, std::uint32_t, int) {
  __stcs(reinterpret_cast<float4*>(at), x);
}
inline __device__ void round4(BFloat16* at, float4 x, const RoundingKey& key, std::uint32_t j,
                              int part) {
  const auto rounded = [&](float value, std::uint32_t place) {
    const std::uint32_t bits = formulas::rounding_bits(key, place) >> part;
    return static_cast<unsigned>(
        formulas::round_stochastically(value, static_cast<std::uint16_t>(bits)));
  };
  __stcs(reinterpret_cast<uint2*>(at), {rounded(x.x, j) | rounded(x.y, j + 1) << 16,
                                        rounded(x.z, j + 2) | rounded(x.w, j + 3) << 16});
}
inline __device__ void round4(Nothing*, float4, const RoundingKey&, std::uint32_t, int) {}

template <class F>
inline PFC_ON_GPU float4 each(float4 a, float4 b, F f) {
  return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w)};
}
inline __device__ float4 times(float4 a, float b) {
  return {a.x * b, a.y * b, a.z * b, a.w * b};
}
inline __device__ float dot(float4 a, float4 b) {
  return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}
/// a·x + b·y
inline __device__ float4 sum_of(float a, float4 x, float b, float4 y) {
  return each(x, y, [&](float p, float q) { return a * p + b * q; });
}

/// Four numbers as one that rules work on.
struct Four {
  float4 v;

  Four() = default;
  PFC_RULE Four(float4 values) : v(values) {}
  explicit PFC_RULE Four(float all) : v{all, all, all, all} {}

  friend PFC_RULE Four operator+(Four a, Four b) {
    return each(a.v, b.v, [](float x, float y) { return x + y; });
  }
  friend PFC_RULE Four operator-(Four a, Four b) {
    return each(a.v, b.v, [](float x, float y) { return x - y; });
  }
  friend PFC_RULE Four operator*(Four a, Four b) {
    return each(a.v, b.v, [](float x, float y) { return x * y; });
  }
  friend PFC_RULE Four operator/(Four a, Four b) {
    return each(a.v, b.v, [](float x, float y) { return x / y; });
  }
  friend PFC_RULE Four sqrt(Four a) {
    return float4{std::sqrt(a.v.x), std::sqrt(a.v.y), std::sqrt(a.v.z), std::sqrt(a.v.w)};
  }
  friend PFC_RULE Four mul_add(Four a, Four b, Four c) {
    return float4{std::fma(a.v.x, b.v.x, c.v.x), std::fma(a.v.y, b.v.y, c.v.y),
                  std::fma(a.v.z, b.v.z, c.v.z), std::fma(a.v.w, b.v.w, c.v.w)};
  }
  friend PFC_RULE Four mul_sub(Four a, Four b, Four c) {
    return mul_add(a, b, float4{-c.v.x, -c.v.y, -c.v.z, -c.v.w});
  }
};

// Over a warp; every lane gets the result.

template <class T, class Join>
__device__ T warp_reduce(T x, const Join& join) {
  for (int step = kWarp / 2; step > 0; step /= 2) x = join(x, __shfl_xor_sync(kAllLanes, x, step));
  return x;
}
template <class T>
__device__ T warp_sum(T x) {
  return warp_reduce(x, [](T a, T b) { return a + b; });
}
inline __device__ double warp_max(double x) {
  return warp_reduce(x, [](double a, double b) { return fmax(a, b); });
}

/// 1 / ‖w‖ from the sum of squares, written so that a NaN gives a NaN.
template <class T>
__device__ T inverse_norm_of(T squares) {
  constexpr T kLeast = static_cast<T>(formulas::kLeastNorm);
  const T norm = std::sqrt(squares);
  return 1 / (norm < kLeast ? kLeast : norm);
}

/// Calls body(weights, state) with pointers of the types that they have.
template <class Body>
void with_types(const Table& table, const Body& body) {
  const auto with_state = [&](auto* weights) {
    if (table.states[0] == nullptr) {
      body(weights, static_cast<Nothing*>(nullptr));
    } else if (table.state_type == NumberType::kFloat32) {
      body(weights, static_cast<float*>(table.states[0]));
    } else {
      body(weights, static_cast<BFloat16*>(table.states[0]));
    }
  };
  if (table.weight_type == NumberType::kFloat32) {
    with_state(static_cast<float*>(table.weights));
  } else {
    with_state(static_cast<BFloat16*>(table.weights));
  }
}

template <class Body>
void with_type(Operand operand, const Body& body) {
  switch (operand.type) {
    case GemmType::kBFloat16:
      return body(static_cast<__nv_bfloat16*>(operand.data));
    case GemmType::kFloat16:
      return body(static_cast<__half*>(operand.data));
    case GemmType::kFloat32:
      return body(static_cast<float*>(operand.data));
  }
}

/// The row of this thread's warp among all launched with kRowThreads.
inline __device__ std::int64_t warp_row() {
  return std::int64_t{blockIdx.x} * kRowWarps + threadIdx.x / kWarp;
}
inline __device__ std::int64_t lane_start() {
  return threadIdx.x % kWarp * 4;
}
inline constexpr std::int64_t kLaneStep = kWarp * 4;

inline __device__ CatchUp missed_by(const Table& table, std::int64_t row) {
  return table.to_now == nullptr ? CatchUp() : table.to_now[table.steps_seen[row]];
}

/// A row of a table after its missed steps, four components at a time.
template <class W, class V>
struct CaughtUp {
  const W* w;
  const V* v;
  CatchUp missed;
  bool any;

  __device__ CaughtUp(const Table& table, const W* weights, const V* state, std::int64_t row)
      : w(weights + row * table.dim),
        v(state == nullptr ? nullptr : state + row * table.dim),
        missed(missed_by(table, row)),
        any(table.to_now != nullptr) {}
  __device__ float4 weight(std::int64_t j) const {
    const float4 x = load4_once(w + j);
    return any ? weight(x, load4_once(v + j)) : x;
  }
  // Computed from the stored values of both.
  __device__ float4 weight(float4 x, float4 y) const {
    return any ? sum_of(1, x, 1, sum_of(missed.w_w, x, missed.w_v, y)) : x;
  }
  __device__ float4 velocity(float4 x, float4 y) const {
    return any ? sum_of(missed.v_w, x, missed.v_v, y) : y;
  }
};

}  // namespace pfc::kernels::cuda
