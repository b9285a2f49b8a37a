#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <string>
#include <type_traits>

#include "head/kernels/kernels_cuda.h"
#include "pfc/base/error.h"

namespace pfc::kernels::cuda {
namespace {

using formulas::AdamWStep;
using formulas::BFloat16;
using formulas::CatchUp;
using formulas::RoundingKey;

constexpr int kWarp = 32, kRowWarps = 4, kRowThreads = kRowWarps * kWarp, kSampleThreads = 256;
/// A softmax's block: of its sample's logits a thread holds kHeld times four. Three blocks share a
/// multiprocessor, so that one reads while others reckon.
constexpr int kHeld = 4, kLogitThreads = kMostColumns / 4 / kHeld, kLogitBlocks = 3;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw Error(std::string(kernel) + ": " + cudaGetErrorString(error));
}

unsigned blocks_for(std::int64_t items, std::int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

// Four numbers in memory, whatever their type.

struct Nothing {};  // a row of zeros that keeps nothing

__device__ float4 load4(const float* at) {
  return *reinterpret_cast<const float4*>(at);
}
__device__ float4 load4(const BFloat16* at) {
  const uint2 bits = *reinterpret_cast<const uint2*>(at);
  const auto upper = [](unsigned x) { return __uint_as_float(x); };
  return {upper(bits.x << 16), upper(bits.x & 0xffff0000u), upper(bits.y << 16),
          upper(bits.y & 0xffff0000u)};
}
__device__ float4 load4(const Nothing*) {
  return {0, 0, 0, 0};
}

__device__ void store4(float* at, float4 x) {
  *reinterpret_cast<float4*>(at) = x;
}
__device__ void store4(__nv_bfloat16* at, float4 x) {
  __nv_bfloat162* const pairs = reinterpret_cast<__nv_bfloat162*>(at);
  pairs[0] = __float22bfloat162_rn({x.x, x.y});
  pairs[1] = __float22bfloat162_rn({x.z, x.w});
}
__device__ void store4(__half* at, float4 x) {
  __half2* const pairs = reinterpret_cast<__half2*>(at);
  pairs[0] = __float22half2_rn({x.x, x.y});
  pairs[1] = __float22half2_rn({x.z, x.w});
}
__device__ void store4(BFloat16* at, float4 x) {
  store4(reinterpret_cast<__nv_bfloat16*>(at), x);
}

/// bfloat16 is rounded stochastically, by `key` and the components' places from j on. `part` says
/// which 16 of the 32 random bits are used, so that a row and its state draw different ones.
__device__ void round4(float* at, float4 x, const RoundingKey&, std::uint32_t, int) {
  store4(at, x);
}
__device__ void round4(BFloat16* at, float4 x, const RoundingKey& key, std::uint32_t j, int part) {
  const auto rounded = [&](float value, std::uint32_t place) {
    const std::uint32_t bits = formulas::rounding_bits(key, place) >> part;
    return formulas::round_stochastically(value, static_cast<std::uint16_t>(bits));
  };
  at[0] = rounded(x.x, j);
  at[1] = rounded(x.y, j + 1);
  at[2] = rounded(x.z, j + 2);
  at[3] = rounded(x.w, j + 3);
}
__device__ void round4(Nothing*, float4, const RoundingKey&, std::uint32_t, int) {}

template <class F>
__device__ float4 each(float4 a, float4 b, F f) {
  return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w)};
}
__device__ float4 times(float4 a, float b) {
  return {a.x * b, a.y * b, a.z * b, a.w * b};
}
__device__ float dot(float4 a, float4 b) {
  return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}
/// a·x + b·y
__device__ float4 sum_of(float a, float4 x, float b, float4 y) {
  return each(x, y, [&](float p, float q) { return a * p + b * q; });
}

template <class T>
__device__ T warp_sum(T x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}

/// 1 / ‖w‖ from the sum of squares, written so that a NaN gives a NaN.
template <class T>
__device__ T inverse_norm_of(T squares) {
  constexpr T kLeast = static_cast<T>(formulas::kLeastNorm);
  const T norm = std::sqrt(squares);
  return 1 / (norm < kLeast ? kLeast : norm);
}

/// Over a block of whole warps; every thread gets it.
template <class Join>
__device__ float block_reduce(float x, Join join) {
  __shared__ float parts[kWarp];
  for (int step = kWarp / 2; step > 0; step /= 2) x = join(x, __shfl_xor_sync(kAllLanes, x, step));
  __syncthreads();  // the parts of the reduction before may still be read
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = x;
  __syncthreads();
  float all = parts[0];
  for (int i = 1; i < static_cast<int>(blockDim.x) / kWarp; ++i) all = join(all, parts[i]);
  return all;
}

/// Calls body(weights, state) with pointers of the types that they have.
template <class Body>
void with_types(const Table& table, const Body& body) {
  const auto with_state = [&](auto* weights) {
    if (table.momentum == nullptr) {
      body(weights, static_cast<Nothing*>(nullptr));
    } else if (table.state_type == NumberType::kFloat32) {
      body(weights, static_cast<float*>(table.momentum));
    } else {
      body(weights, static_cast<BFloat16*>(table.momentum));
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

/// The row of a table at a place of a step's rows, or −1 where there is none.
__device__ std::int64_t row_at(const SampledRows& sampled, std::int64_t i) {
  const std::int64_t place = sampled.begin + i;
  return i < sampled.size && place < sampled.step->count ? sampled.rows[place] : -1;
}

/// How many of an ascending list are below x.
__device__ std::int64_t lower_bound(const std::int64_t* list, std::int64_t count, std::int64_t x) {
  std::int64_t first = 0;
  while (count > 0) {
    const std::int64_t half = count / 2;
    if (list[first + half] < x) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

/// The row of this thread's warp among all that were launched with kRowThreads.
__device__ std::int64_t warp_row() {
  return std::int64_t{blockIdx.x} * kRowWarps + threadIdx.x / kWarp;
}
__device__ std::int64_t lane_start() {
  return threadIdx.x % kWarp * 4;
}
constexpr std::int64_t kLaneStep = kWarp * 4;

/// Calls f(k, j) for each place j of a row that this lane has four numbers at. The usual row has
/// kUsual of them a lane, which then fit its registers; kHeldVectors is that or 0, any number.
constexpr int kUsual = 4;
template <int kHeldVectors, class F>
__device__ void for_lane(std::int64_t dim, const F& f) {
  if constexpr (kHeldVectors > 0) {
#pragma unroll
    for (int k = 0; k < kHeldVectors; ++k) f(k, lane_start() + k * kLaneStep);
  } else {
    for (std::int64_t j = lane_start(); j < dim; j += kLaneStep) f(0, j);
  }
}
/// Four numbers at each of a lane's places: held, or loaded again by load(j).
template <int kHeldVectors, class Load>
struct Held {
  const Load& load;
  float4 values[kHeldVectors > 0 ? kHeldVectors : 1];

  __device__ Held(std::int64_t dim, const Load& from) : load(from) {
    if constexpr (kHeldVectors > 0)
      for_lane<kHeldVectors>(dim, [&](int k, std::int64_t j) { values[k] = load(j); });
  }
  __device__ float4 operator()(int k, std::int64_t j) const {
    if constexpr (kHeldVectors > 0) return values[k];
    return load(j);
  }
};
template <int kHeldVectors, class Load>
__device__ Held<kHeldVectors, Load> held(std::int64_t dim, const Load& load) {
  return {dim, load};
}

/// Calls body with kUsual or 0 as a constant.
template <class Body>
void with_size(std::int64_t dim, const Body& body) {
  if (dim == kUsual * kLaneStep) return body(std::integral_constant<int, kUsual>());
  return body(std::integral_constant<int, 0>());
}

__device__ CatchUp missed_by(const Table& table, std::int64_t row) {
  return table.to_now == nullptr ? CatchUp() : table.to_now[table.steps_seen[row]];
}

__device__ std::int64_t class_of(const Table& table, std::int64_t row) {
  return table.first_class + (table.numbers == nullptr ? row : table.numbers[row]);
}

/// A row of a table after the steps it missed, four components at a time.
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
    const float4 x = load4(w + j);
    return any ? sum_of(missed.w_w, x, missed.w_v, load4(v + j)) : x;
  }
  __device__ float4 velocity(std::int64_t j) const {
    const float4 y = load4(v + j);
    return any ? sum_of(missed.v_w, load4(w + j), missed.v_v, y) : y;
  }
};

__device__ RoundingKey rounding_key(const CounterRandom& random, std::int64_t c,
                                    std::uint64_t change) {
  const auto words = random.words(static_cast<std::uint64_t>(c), change);
  return {words[0], words[1]};
}

template <class W>
__global__ void fill_normal_kernel(Table table, W* weights, std::int64_t count, float deviation,
                                   CounterRandom random) {
  const std::int64_t at = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 4;
  if (at >= count * table.dim) return;
  const std::int64_t row = at / table.dim, j = at % table.dim;
  const auto words = random.words(static_cast<std::uint64_t>(table.first_class + row),
                                  static_cast<std::uint64_t>(j));
  const auto first = formulas::normal_pair<float>(words[0], words[1]);
  const auto second = formulas::normal_pair<float>(words[2], words[3]);
  store4(weights + at, times({first[0], first[1], second[0], second[1]}, deviation));
}

/// Each of the two ascending lists that are merged says how many of the other's lie below its own.
__global__ void list_rows_kernel(StratifiedDraw drawn, const std::int64_t* listed,
                                 std::int64_t others, std::int64_t* rows) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kSampleThreads + threadIdx.x;
  const std::int64_t count = drawn.count();
  if (i < count) {
    const std::int64_t row = drawn.row(i).v;
    rows[i + lower_bound(listed, others, row)] = row;
  } else if (i < count + others) {
    const std::int64_t k = i - count, row = listed[k];
    rows[k + drawn.below({row})] = row;
  }
}

/// A warp copies a row with its optimizer's state, 16 bytes a lane at a time.
__device__ void copy_row(const Table& from, std::int64_t i, const Table& to, std::int64_t j) {
  const std::int64_t lane = threadIdx.x % kWarp;
  const auto copy = [&](const void* a, void* b, NumberType type) {
    if (a == nullptr) return;
    const std::int64_t size = from.dim * (type == NumberType::kFloat32 ? 4 : 2) / 16;
    const auto* const source = static_cast<const uint4*>(a) + i * size;
    auto* const target = static_cast<uint4*>(b) + j * size;
    for (std::int64_t k = lane; k < size; k += kWarp) target[k] = source[k];
  };
  copy(from.weights, to.weights, from.weight_type);
  copy(from.momentum, to.momentum, from.state_type);
  copy(from.squares, to.squares, from.state_type);
  if (lane != 0) return;
  if (from.updates != nullptr) to.updates[j] = from.updates[i];
  if (from.steps_seen != nullptr) to.steps_seen[j] = from.steps_seen[i];
}

__global__ void load_rows_kernel(Table whole, Table part, std::int64_t count) {
  const std::int64_t i = warp_row();
  if (i < count) copy_row(whole, part.numbers[i], part, i);
}

__global__ void store_rows_kernel(Table part, Table whole, std::int64_t count) {
  const std::int64_t i = warp_row();
  if (i < count) copy_row(part, i, whole, part.numbers[i]);
}

__global__ void forward_rows_kernel(Table from, std::int64_t from_count, Table to,
                                    std::int64_t to_count) {
  const std::int64_t i = warp_row();
  if (i >= to_count) return;
  const std::int64_t row = to.numbers[i], at = lower_bound(from.numbers, from_count, row);
  if (at < from_count && from.numbers[at] == row) copy_row(from, at, to, i);
}

template <int kHeldVectors, class W, class V, class U>
__global__ void gather_normalize_kernel(Table table, const W* weights, const V* state,
                                        SampledRows sampled, U* unit, float* inverse_norm) {
  const std::int64_t i = warp_row();
  if (i >= sampled.size) return;
  const std::int64_t number = row_at(sampled, i);
  U* const out = unit + i * table.dim;
  if (number < 0) {
    for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep)
      store4(out + j, {0, 0, 0, 0});
    return;
  }
  const CaughtUp row(table, weights, state, number);
  const auto load = [&](std::int64_t j) { return row.weight(j); };
  const auto x = held<kHeldVectors>(table.dim, load);
  float squares = 0;
  for_lane<kHeldVectors>(table.dim,
                         [&](int k, std::int64_t j) { squares += dot(x(k, j), x(k, j)); });
  const float inverse = inverse_norm_of(warp_sum(squares));
  for_lane<kHeldVectors>(table.dim,
                         [&](int k, std::int64_t j) { store4(out + j, times(x(k, j), inverse)); });
  if (threadIdx.x % kWarp == 0) inverse_norm[i] = inverse;
}

template <class W, class V>
__global__ void read_rows_kernel(Table table, const W* weights, const V* state,
                                 const std::int64_t* rows, std::int64_t count, float* values) {
  const std::int64_t i = warp_row();
  if (i >= count) return;
  const CaughtUp row(table, weights, state, rows[i]);
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep)
    store4(values + i * table.dim + j, row.weight(j));
}

template <class W, class V>
__global__ void prepare_own_kernel(Table table, const W* weights, const V* state,
                                   SampledRows sampled, const float* embeddings,
                                   std::int64_t samples, Margin::Terms margin, OwnClasses own) {
  const std::int64_t i = warp_row();
  if (i >= samples || own.targets[i] < 0) return;
  const CaughtUp row(table, weights, state, sampled.rows[own.targets[i]]);
  const float* const x = embeddings + i * table.dim;
  double xx = 0, ww = 0, xw = 0;
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep) {
    const float4 a = load4(x + j), b = row.weight(j);
    const auto add = [&](double p, double q) {
      xx += p * p;
      ww += q * q;
      xw += p * q;
    };
    add(a.x, b.x);
    add(a.y, b.y);
    add(a.z, b.z);
    add(a.w, b.w);
  }
  const double of_x = inverse_norm_of(warp_sum(xx)), of_w = inverse_norm_of(warp_sum(ww));
  const double cosine = warp_sum(xw) * of_x * of_w;
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep) {
    const float4 a = load4(x + j), b = row.weight(j);
    const auto along = [&](float p, double of_p, float q, double of_q) {  // p̂ − cos·q̂
      return static_cast<float>(p * of_p - cosine * (q * of_q));
    };
    store4(own.d_sample + i * table.dim + j,
           each(b, a, [&](float p, float q) { return along(p, of_w, q, of_x); }));
    store4(own.d_center + i * table.dim + j,
           each(a, b, [&](float p, float q) { return along(p, of_x, q, of_w); }));
  }
  if (threadIdx.x % kWarp != 0) return;
  const MarginValue phi = formulas::with_margin(margin, cosine);
  own.phi[i] = phi.value;
  own.slope[i] = phi.slope;
}

/// The logits of a sample's row, four columns at a time, −∞ where a class does not count.
struct LogitRow {
  const float* cosines;
  int count, own;  ///< columns; the sample's own one, or outside of them
  float phi, scale, threshold;

  __device__ LogitRow(const TileShape& tile, const Logits& logits, const OwnClasses& classes,
                      std::int64_t i)
      : cosines(logits.cosines + i * tile.classes.size),
        count(static_cast<int>(std::clamp<std::int64_t>(
            tile.classes.step->count - tile.classes.begin, 0, tile.classes.size))),
        own(classes.targets[i] < 0 ? -1
                                   : static_cast<int>(classes.targets[i] - tile.classes.begin)),
        phi(own < 0 || own >= count ? 0.0f : static_cast<float>(classes.phi[i])),
        scale(logits.scale),
        threshold(logits.threshold) {}

  __device__ float4 operator()(int j) const {
    float4 z = load4(cosines + j);
    z = {other(z.x), other(z.y), other(z.z), other(z.w)};
    if ((own >= j && own < j + 4) || j + 4 > count)
      z = {at(z.x, j), at(z.y, j + 1), at(z.z, j + 2), at(z.w, j + 3)};
    return z;
  }

 private:
  __device__ float other(float cosine) const {
    return scale * formulas::mask_above(cosine, threshold);
  }
  __device__ float at(float z, int j) const {
    if (j == own) return scale * phi;
    return j >= count ? -kInfinity : z;
  }
};

__device__ float largest(float4 z) {
  return fmaxf(fmaxf(z.x, z.y), fmaxf(z.z, z.w));
}
__device__ float4 exp_of(float4 z, float shift) {
  // The fast exponential's error grows with its argument, which is near 0 for all that counts.
  return {__expf(z.x - shift), __expf(z.y - shift), __expf(z.z - shift), __expf(z.w - shift)};
}

/// The logits are read once, and held.
template <class P>
__global__ void __launch_bounds__(kLogitThreads, kLogitBlocks)
    softmax_tile_kernel(TileShape tile, Logits logits, OwnClasses own, SoftmaxState state,
                        P* probabilities, float* tile_maximum) {
  const std::int64_t i = blockIdx.x;
  const LogitRow row(tile, logits, own, i);
  const int columns = static_cast<int>(tile.classes.size), step = static_cast<int>(blockDim.x) * 4;
  const int first = static_cast<int>(threadIdx.x) * 4;
  float4 held[kHeld];
  float most = -kInfinity;
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const int j = first + k * step;
    if (j >= columns) continue;
    held[k] = row(j);
    most = fmaxf(most, largest(held[k]));
  }
  most = block_reduce(most, [](float a, float b) { return fmaxf(a, b); });
  const float before = state.maximum[i], now = fmaxf(before, most);
  const float shift = now == -kInfinity ? 0 : now;  // nothing but masked classes so far
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const int j = first + k * step;
    if (j >= columns) continue;
    const float4 p = exp_of(held[k], shift);
    store4(probabilities + i * tile.classes.size + j, p);
    sum += (p.x + p.y) + (p.z + p.w);
  }
  sum = block_reduce(sum, [](float a, float b) { return a + b; });
  const float shrink = before == now ? 1 : expf(before - now);
  if (shrink != 1) {
    float* const d = state.d_embeddings + i * state.dim;
    for (std::int64_t j = first; j < state.dim; j += step)
      store4(d + j, times(load4(d + j), shrink));
  }
  if (threadIdx.x != 0) return;  // every thread has read the maximum: the reductions are barriers
  state.maximum[i] = now;
  state.sum[i] = state.sum[i] * shrink + sum;
  tile_maximum[i] = shift;
}

template <class P>
__global__ void exp_tile_kernel(TileShape tile, Logits logits, OwnClasses own, const float* shift,
                                P* probabilities) {
  const std::int64_t i = blockIdx.x;
  const LogitRow row(tile, logits, own, i);
  const int columns = static_cast<int>(tile.classes.size), step = static_cast<int>(blockDim.x) * 4;
  for (int j = static_cast<int>(threadIdx.x) * 4; j < columns; j += step)
    store4(probabilities + i * tile.classes.size + j, exp_of(row(j), shift[i]));
}

__global__ void merge_softmax_kernel(SoftmaxState state, SoftmaxState other) {
  const std::int64_t i = blockIdx.x;
  const float ours = state.maximum[i], theirs = other.maximum[i], now = fmaxf(ours, theirs);
  const float shift = now == -kInfinity ? 0 : now;
  const float keep = expf(ours - shift), add = expf(theirs - shift);
  __syncthreads();  // all have read what the first one changes
  for (std::int64_t j = threadIdx.x * 4; j < state.dim; j += blockDim.x * 4) {
    float* const d = state.d_embeddings + i * state.dim + j;
    store4(d, sum_of(keep, load4(d), add, load4(other.d_embeddings + i * state.dim + j)));
  }
  if (threadIdx.x != 0) return;
  state.maximum[i] = now;
  state.sum[i] = keep * state.sum[i] + add * other.sum[i];
}

__global__ void pack_softmax_kernel(SoftmaxState state, OwnClasses own, float scale,
                                    std::int64_t samples, float* locals) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= samples) return;
  locals[3 * i] = state.maximum[i];
  locals[3 * i + 1] = state.sum[i];
  locals[3 * i + 2] =
      own.targets[i] < 0 ? -kInfinity : static_cast<float>(own.phi[i] * double{scale});
}

/// One block: the loss is summed in the same order always.
__global__ void join_softmax_kernel(JoinedSoftmax joined, float scale) {
  __shared__ double parts[kSampleThreads];
  const double count = joined.count[0];
  double loss = 0;
  for (std::int64_t i = threadIdx.x; i < joined.samples; i += kSampleThreads) {
    const auto of = [&](std::int64_t rank, int what) {
      return joined.all[(rank * joined.samples + i) * 3 + what];
    };
    float maximum = -kInfinity, target = -kInfinity;
    for (std::int64_t rank = 0; rank < joined.world; ++rank) {
      maximum = fmaxf(maximum, of(rank, 0));
      target = fmaxf(target, of(rank, 2));
    }
    float sum = 0;
    for (std::int64_t rank = 0; rank < joined.world; ++rank)
      sum += of(rank, 1) * expf(of(rank, 0) - maximum);
    const float log_sum = maximum + logf(sum);
    const float valid = joined.valid[i];
    joined.log_sum[i] = log_sum;
    joined.weight[i] = static_cast<float>(double{valid} * scale / count);
    if (valid > 0) loss += static_cast<double>(log_sum) - target;
  }
  parts[threadIdx.x] = loss;
  __syncthreads();
  for (int half = kSampleThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  joined.loss[0] += parts[0] / count;
  if (!isfinite(joined.loss[0])) joined.skip[0] = 1;
}

__global__ void finish_embeddings_kernel(JoinedSoftmax joined, SoftmaxState state, OwnClasses own,
                                         float scale) {
  const std::int64_t i = blockIdx.x;
  const float log_sum = joined.log_sum[i], weight = joined.weight[i];
  const float factor = weight * expf(state.maximum[i] - log_sum);
  float of_own = 0;
  const bool owned = own.targets[i] >= 0;
  if (owned) {
    // The GEMMs took a sample's own cosine for any other: p, where the margin makes it (p − 1)·φ′.
    const double log_p = own.phi[i] * double{scale} - double{log_sum};
    of_own = static_cast<float>(double{weight} * (exp(log_p) - expm1(log_p) * own.slope[i]));
  }
  const std::int64_t at = i * state.dim;
  for (std::int64_t j = threadIdx.x * 4; j < state.dim; j += kSampleThreads * 4) {
    float4 d = times(load4(state.d_embeddings + at + j), factor);
    if (owned) {
      d = sum_of(1, d, -of_own, load4(own.d_sample + at + j));
      store4(own.d_center + at + j, times(load4(own.d_center + at + j), of_own));
    }
    store4(state.d_embeddings + at + j, d);
  }
}

template <class T>
__global__ void weigh_embeddings_kernel(const float* embeddings, JoinedSoftmax joined,
                                        const float* shift, std::int64_t dim, T* weighted) {
  const std::int64_t i = warp_row();
  if (i >= joined.samples) return;
  const float factor = joined.weight[i] * expf(shift[i] - joined.log_sum[i]);
  for (std::int64_t j = lane_start(); j < dim; j += kLaneStep)
    store4(weighted + i * dim + j, times(load4(embeddings + i * dim + j), factor));
}

__global__ void subtract_own_kernel(OwnedOrder owned, const float* d_center, SampledRows sampled,
                                    std::int64_t dim, float* d_unit) {
  std::int64_t k = warp_row();
  const std::int64_t last = sampled.step->owned;
  if (k >= last) return;
  const std::int32_t place = owned.places[k];
  if (place < sampled.begin || place >= sampled.begin + sampled.size) return;  // another tile's
  if (k > 0 && owned.places[k - 1] == place) return;  // the class's first sample does it
  float* const d = d_unit + (place - sampled.begin) * dim;
  for (; k < last && owned.places[k] == place; ++k) {
    const float* const own = d_center + owned.samples[k] * dim;
    for (std::int64_t j = lane_start(); j < dim; j += kLaneStep)
      store4(d + j, sum_of(1, load4(d + j), -1, load4(own + j)));
  }
}

template <int kHeldVectors, class W, class V>
__global__ void update_sgd_kernel(Table table, W* weights, V* state, SampledRows sampled,
                                  const float* d_unit, const float* inverse_norm,
                                  CounterRandom random, const float* skip) {
  const std::int64_t i = warp_row();
  const std::int64_t row = row_at(sampled, i);
  if (row < 0 || skip[0] != 0) return;
  const StepScalars& rule = *sampled.step;
  const CaughtUp old(table, weights, state, row);
  const float* const gradient = d_unit + i * table.dim;
  const float inverse = inverse_norm[i];
  const auto load_weight = [&](std::int64_t j) { return old.weight(j); };
  const auto load_velocity = [&](std::int64_t j) { return old.velocity(j); };
  const auto load_gradient = [&](std::int64_t j) { return load4(gradient + j); };
  const auto x = held<kHeldVectors>(table.dim, load_weight);
  const auto g = held<kHeldVectors>(table.dim, load_gradient);
  const auto y = held<kHeldVectors>(table.dim, load_velocity);  // before the sum waits for the rest
  float along = 0;
  for_lane<kHeldVectors>(table.dim, [&](int k, std::int64_t j) { along += dot(g(k, j), x(k, j)); });
  along = warp_sum(along) * inverse;
  RoundingKey key{};
  if constexpr (std::is_same_v<W, BFloat16> || std::is_same_v<V, BFloat16>)
    key = rounding_key(random, class_of(table, row), rule.change);
  const formulas::SgdStep sgd = rule.sgd;
  for_lane<kHeldVectors>(table.dim, [&](int k, std::int64_t j) {
    const float4 w = x(k, j), before = y(k, j), d = g(k, j);
    const auto velocity = [&](float v, float weight, float d_unit_j) {
      return sgd.momentum * v + formulas::through_norm(d_unit_j, weight, along, inverse) +
             sgd.weight_decay * weight;
    };
    const float4 v = {velocity(before.x, w.x, d.x), velocity(before.y, w.y, d.y),
                      velocity(before.z, w.z, d.z), velocity(before.w, w.w, d.w)};
    const auto place = static_cast<std::uint32_t>(j);
    if constexpr (!std::is_same_v<V, Nothing>)
      round4(state + row * table.dim + j, v, key, place, 16);
    round4(weights + row * table.dim + j, sum_of(1, w, -sgd.lr, v), key, place, 0);
  });
  if (table.steps_seen != nullptr && threadIdx.x % kWarp == 0)
    table.steps_seen[row] = rule.steps_seen;
}

template <class W, class V>
__global__ void update_adamw_kernel(Table table, W* weights, V* means, V* squares,
                                    SampledRows sampled, const float* d_unit,
                                    const float* inverse_norm, CounterRandom random,
                                    const float* skip) {
  constexpr auto kBeta1 = static_cast<float>(AdamWStep::kBeta1),
                 kBeta2 = static_cast<float>(AdamWStep::kBeta2),
                 kEpsilon = static_cast<float>(AdamWStep::kEpsilon),
                 kRest1 = static_cast<float>(1 - AdamWStep::kBeta1),
                 kRest2 = static_cast<float>(1 - AdamWStep::kBeta2);
  const std::int64_t i = warp_row();
  const std::int64_t row = row_at(sampled, i), at = row * table.dim;
  if (row < 0 || skip[0] != 0) return;
  const StepScalars& rule = *sampled.step;
  const int update = table.updates[row] + 1;
  const AdamWStep step = formulas::adamw_step(rule.lr, rule.weight_decay, update);
  const float* const gradient = d_unit + i * table.dim;
  const float inverse = inverse_norm[i];
  float along = 0;
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep)
    along += dot(load4(gradient + j), load4(weights + at + j));
  along = warp_sum(along) * inverse;
  RoundingKey key{};
  if constexpr (std::is_same_v<W, BFloat16> || std::is_same_v<V, BFloat16>)
    key = rounding_key(random, class_of(table, row), rule.change);
  const RoundingKey other{key.second, key.first};  // three draws of 16 bits do not fit into 32
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep) {
    const float4 x = load4(weights + at + j);
    const float4 g = each(load4(gradient + j), x, [&](float d, float w) {
      return formulas::through_norm(d, w, along, inverse);
    });
    const float4 m = sum_of(kBeta1, load4(means + at + j), kRest1, g);
    const float4 v = sum_of(kBeta2, load4(squares + at + j), kRest2,
                            each(g, g, [](float a, float b) { return a * b; }));
    const float4 move = each(m, v, [&](float mean, float square) {
      return mean / (std::sqrt(square) * step.root_correction + kEpsilon);
    });
    const auto place = static_cast<std::uint32_t>(j);
    round4(means + at + j, m, key, place, 16);
    round4(squares + at + j, v, other, place, 0);
    round4(weights + at + j, sum_of(step.keep, x, -step.rate, move), key, place, 0);
  }
  __syncwarp();
  if (threadIdx.x % kWarp == 0) table.updates[row] = update;
}

template <class W, class V>
__global__ void catch_up_kernel(Table table, W* weights, V* state, std::int64_t count,
                                std::uint64_t change, CounterRandom random) {
  const std::int64_t row = warp_row();
  if (row >= count) return;
  const CaughtUp old(table, weights, state, row);
  const RoundingKey key = rounding_key(random, class_of(table, row), change);
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep) {
    const float4 w = old.weight(j), v = old.velocity(j);
    const auto place = static_cast<std::uint32_t>(j);
    if constexpr (!std::is_same_v<V, Nothing>)
      round4(state + row * table.dim + j, v, key, place, 16);
    round4(weights + row * table.dim + j, w, key, place, 0);
  }
}

}  // namespace

void list_rows(const StratifiedDraw& drawn, const std::int64_t* listed, std::int64_t others,
               std::int64_t* rows, Stream stream) {
  const std::int64_t all = drawn.count() + others;
  if (all == 0) return;
  list_rows_kernel<<<blocks_for(all, kSampleThreads), kSampleThreads, 0, stream>>>(drawn, listed,
                                                                                   others, rows);
  check_launch("list_rows");
}

void fill_normal(const Table& table, std::int64_t count, float deviation,
                 const CounterRandom& random, Stream stream) {
  constexpr int kThreads = 256;
  const unsigned blocks = blocks_for(count * table.dim, kThreads * 4);
  with_types(table, [&](auto* weights, auto*) {
    fill_normal_kernel<<<blocks, kThreads, 0, stream>>>(table, weights, count, deviation, random);
  });
  check_launch("fill_normal");
}

void gather_normalize(const Table& table, const SampledRows& sampled, Operand unit,
                      float* inverse_norm, Stream stream) {
  with_types(table, [&](const auto* weights, const auto* state) {
    with_type(unit, [&](auto* out) {
      with_size(table.dim, [&](auto size) {
        gather_normalize_kernel<size()>
            <<<blocks_for(sampled.size, kRowWarps), kRowThreads, 0, stream>>>(
                table, weights, state, sampled, out, inverse_norm);
      });
    });
  });
  check_launch("gather_normalize");
}

void load_rows(const Table& whole, const Table& part, std::int64_t count, Stream stream) {
  if (count == 0) return;
  load_rows_kernel<<<blocks_for(count, kRowWarps), kRowThreads, 0, stream>>>(whole, part, count);
  check_launch("load_rows");
}

void store_rows(const Table& part, const Table& whole, std::int64_t count, Stream stream) {
  if (count == 0) return;
  store_rows_kernel<<<blocks_for(count, kRowWarps), kRowThreads, 0, stream>>>(part, whole, count);
  check_launch("store_rows");
}

void forward_rows(const Table& from, std::int64_t from_count, const Table& to,
                  std::int64_t to_count, Stream stream) {
  if (to_count == 0) return;
  forward_rows_kernel<<<blocks_for(to_count, kRowWarps), kRowThreads, 0, stream>>>(from, from_count,
                                                                                   to, to_count);
  check_launch("forward_rows");
}

void read_rows(const Table& table, const std::int64_t* rows, std::int64_t count, float* values,
               Stream stream) {
  if (count == 0) return;
  with_types(table, [&](const auto* weights, const auto* state) {
    read_rows_kernel<<<blocks_for(count, kRowWarps), kRowThreads, 0, stream>>>(
        table, weights, state, rows, count, values);
  });
  check_launch("read_rows");
}

void prepare_own_classes(const Table& table, const SampledRows& sampled, const float* embeddings,
                         std::int64_t samples, const Margin::Terms& margin, const OwnClasses& own,
                         Stream stream) {
  with_types(table, [&](const auto* weights, const auto* state) {
    prepare_own_kernel<<<blocks_for(samples, kRowWarps), kRowThreads, 0, stream>>>(
        table, weights, state, sampled, embeddings, samples, margin, own);
  });
  check_launch("prepare_own_classes");
}

void softmax_tile(const TileShape& tile, const Logits& logits, const OwnClasses& own,
                  const SoftmaxState& state, Operand probabilities, float* tile_maximum,
                  Stream stream) {
  with_type(probabilities, [&](auto* out) {
    const unsigned warps = blocks_for(tile.classes.size, 4 * kHeld * kWarp);
    softmax_tile_kernel<<<static_cast<unsigned>(tile.samples), warps * kWarp, 0, stream>>>(
        tile, logits, own, state, out, tile_maximum);
  });
  check_launch("softmax_tile");
}

void merge_softmax(const SoftmaxState& state, const SoftmaxState& other, std::int64_t samples,
                   Stream stream) {
  merge_softmax_kernel<<<static_cast<unsigned>(samples), kRowThreads, 0, stream>>>(state, other);
  check_launch("merge_softmax");
}

void exp_tile(const TileShape& tile, const Logits& logits, const OwnClasses& own,
              const float* shift, Operand probabilities, Stream stream) {
  with_type(probabilities, [&](auto* out) {
    exp_tile_kernel<<<static_cast<unsigned>(tile.samples), kSampleThreads, 0, stream>>>(
        tile, logits, own, shift, out);
  });
  check_launch("exp_tile");
}

void pack_softmax(const SoftmaxState& state, const OwnClasses& own, float scale,
                  std::int64_t samples, float* locals, Stream stream) {
  pack_softmax_kernel<<<blocks_for(samples, kSampleThreads), kSampleThreads, 0, stream>>>(
      state, own, scale, samples, locals);
  check_launch("pack_softmax");
}

void join_softmax(const JoinedSoftmax& joined, float scale, Stream stream) {
  join_softmax_kernel<<<1, kSampleThreads, 0, stream>>>(joined, scale);
  check_launch("join_softmax");
}

void finish_embeddings(const JoinedSoftmax& joined, const SoftmaxState& state,
                       const OwnClasses& own, float scale, Stream stream) {
  finish_embeddings_kernel<<<static_cast<unsigned>(joined.samples), kSampleThreads, 0, stream>>>(
      joined, state, own, scale);
  check_launch("finish_embeddings");
}

void weigh_embeddings(const float* embeddings, const JoinedSoftmax& joined, const float* shift,
                      std::int64_t dim, Operand weighted, Stream stream) {
  with_type(weighted, [&](auto* out) {
    weigh_embeddings_kernel<<<blocks_for(joined.samples, kRowWarps), kRowThreads, 0, stream>>>(
        embeddings, joined, shift, dim, out);
  });
  check_launch("weigh_embeddings");
}

void subtract_own(const OwnedOrder& owned, const float* d_center, const SampledRows& sampled,
                  std::int64_t dim, float* d_unit, Stream stream) {
  subtract_own_kernel<<<blocks_for(owned.most, kRowWarps), kRowThreads, 0, stream>>>(
      owned, d_center, sampled, dim, d_unit);
  check_launch("subtract_own");
}

void update_rows(const Table& table, const SampledRows& sampled, bool adamw, const float* d_unit,
                 const float* inverse_norm, const CounterRandom& random, const float* skip,
                 Stream stream) {
  const unsigned blocks = blocks_for(sampled.size, kRowWarps);
  with_types(table, [&](auto* weights, auto* state) {
    if (adamw) {
      update_adamw_kernel<<<blocks, kRowThreads, 0, stream>>>(
          table, weights, state, static_cast<decltype(state)>(table.squares), sampled, d_unit,
          inverse_norm, random, skip);
    } else {
      with_size(table.dim, [&](auto size) {
        update_sgd_kernel<size()><<<blocks, kRowThreads, 0, stream>>>(
            table, weights, state, sampled, d_unit, inverse_norm, random, skip);
      });
    }
  });
  check_launch("update_rows");
}

void catch_up(const Table& table, std::int64_t count, std::uint64_t change,
              const CounterRandom& random, Stream stream) {
  with_types(table, [&](auto* weights, auto* state) {
    catch_up_kernel<<<blocks_for(count, kRowWarps), kRowThreads, 0, stream>>>(
        table, weights, state, count, change, random);
  });
  check_launch("catch_up");
}

}  // namespace pfc::kernels::cuda
