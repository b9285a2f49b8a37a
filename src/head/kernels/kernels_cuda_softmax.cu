#include <type_traits>
#include <variant>

#include "head/kernels/kernels_cuda_device.h"
#include "head/kernels/kernels_cuda_logits.h"

namespace pfc::kernels::cuda {
namespace {

/// The block of a softmax: a thread holds kHeld times four of its sample's logits. A multiprocessor
/// has kLogitThreads of them and at least two blocks, so that one computes while the other reads.
constexpr int kHeld = 8, kLogitThreads = 1024;
/// For exponentials alone: blocks share a row.
constexpr int kExpHeld = 4, kExpColumns = kSampleThreads * 4 * kExpHeld;

/// What is subtracted from logits with this maximum. If there are no logits that count, the
/// exponentials are then 0 and not NaN.
template <class T>
__device__ T shift_of(T maximum) {
  return maximum == T{-kInfinity} ? 0 : maximum;
}

/// The factor for a sum of exponentials when its shift changes.
__device__ double shrink_of(float from, float to) {
  return from == to ? 1 : exp(double{from} - double{to});
}

/// Over a block of whole warps; every thread gets the result.
template <class Join>
__device__ float block_reduce(float x, Join join) {
  __shared__ float parts[kWarp];
  x = warp_reduce(x, join);
  __syncthreads();  // the parts of the previous reduction may still be read
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = x;
  __syncthreads();
  float all = parts[0];
  for (int i = 1; i < static_cast<int>(blockDim.x) / kWarp; ++i) all = join(all, parts[i]);
  return all;
}

template <class T>
__global__ void begin_samples_kernel(const float* embeddings, Samples samples, T* rounded,
                                     SoftmaxState state, std::int64_t lanes, float maximum) {
  const std::int64_t i = warp_row();
  if (i >= samples.count) return;
  for (std::int64_t j = lane_start(); j < state.dim; j += kLaneStep) {
    const float4 x = load4(embeddings + i * state.dim + j);
    store4(samples.embeddings + i * state.dim + j, x);
    store4(rounded + i * state.dim + j, x);
  }
  for (std::int64_t lane = threadIdx.x % kWarp; lane < lanes; lane += kWarp)
    state.maximum[lane * samples.count + i] = maximum;
  for (std::int64_t sum = threadIdx.x % kWarp; sum < lanes * state.sums; sum += kWarp)
    state.sum[sum * samples.count + i] = 0;
}

/// The inverse lengths of a sample and of a centre, and their cosine.
struct Cosine {
  double of_x, of_w, value;
};

/// A warp's; every lane gets it.
template <class Row>
__device__ Cosine cosine_of(const float* x, const Row& row, std::int64_t dim) {
  double xx = 0, ww = 0, xw = 0;
  for (std::int64_t j = lane_start(); j < dim; j += kLaneStep) {
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
  return {of_x, of_w, warp_sum(xw) * of_x * of_w};
}

template <class W, class V>
__global__ void own_cosines_kernel(Table table, const W* weights, const V* state,
                                   SampledRows sampled, Samples samples, OwnClasses own) {
  const std::int64_t i = warp_row();
  if (i >= samples.count) return;
  if (own.targets[i] < 0) {
    if (threadIdx.x % kWarp == 0) own.cosine[i] = 0;
    return;
  }
  const float* const x = samples.embeddings + i * table.dim;
  const auto row_of = [&](std::int64_t place) {
    return CaughtUp(table, weights, state, sampled.rows[place]);
  };
  std::int32_t nearest = own.targets[i];
  Cosine found = cosine_of(x, row_of(nearest), table.dim);
  for (std::int32_t place = nearest + 1; place < own.targets[i] + own.centers; ++place) {
    const Cosine other = cosine_of(x, row_of(place), table.dim);
    if (!(other.value > found.value)) continue;
    nearest = place;
    found = other;
  }
  const CaughtUp row = row_of(nearest);
  const auto [of_x, of_w, cosine] = found;
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
  own.cosine[i] = cosine;
  own.nearest[i] = nearest;
}

/// What the loss may look at of a sample.
template <class L>
__device__ LossSample sample_of(const LossState& state, std::int64_t i) {
  LossSample sample{.cosine = clip(state.cosines[i], -1, 1)};
  if constexpr (kLossUsesLength<L>) sample.length = state.lengths[i];
  if constexpr (kLossDraws<L>)
    sample.normal = formulas::loss_draw(state.random, state.step->step, state.step->first + i);
  return sample;
}

template <class L>
__global__ void apply_loss_kernel(L loss, LossState state, OwnClasses own) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kSampleThreads + threadIdx.x;
  if (i >= state.samples) return;
  const LossSample sample = sample_of<L>(state, i);
  if constexpr (kLossBends<L>) state.bounds[i] = static_cast<float>(loss.bound(sample.cosine));
  if constexpr (kLossHasPenalty<L>) state.penalties[i] = loss.penalty(sample.length);
  if (own.targets[i] < 0) return;
  LossSample own_sample = sample;
  own_sample.cosine = own.cosine[i];
  const OwnCosine phi = own_cosine(loss, own_sample, moving_numbers<L>(state.moving));
  own.phi[i] = phi.value;
  own.slope[i] = phi.slope;
  if constexpr (kLossHasLengthGradient<L>) own.by_length[i] = phi.by_length;
}

/// A thread for each class of each sample.
__global__ void keep_nearest_kernel(TileShape tile, Logits logits) {
  const std::int64_t classes = tile.classes.size / logits.centers;
  const std::int64_t at = std::int64_t{blockIdx.x} * kSampleThreads + threadIdx.x;
  if (at >= tile.samples * classes) return;
  float* const cosines = logits.cosines + at * logits.centers;
  std::int64_t nearest = 0;
  for (std::int64_t k = 1; k < logits.centers; ++k) {
    if (cosines[k] > cosines[nearest]) nearest = k;
  }
  for (std::int64_t k = 0; k < logits.centers; ++k) {
    if (k != nearest && !std::isnan(cosines[k])) cosines[k] = -kInfinity;
  }
}

__device__ float largest(float4 z) {
  return fmaxf(fmaxf(z.x, z.y), fmaxf(z.z, z.w));
}
__device__ float total(float4 z) {
  return (z.x + z.y) + (z.z + z.w);
}
/// kRaised·exp(scale·cosine − shift).
__device__ float4 exp_of(float4 cosines, float scale, float shift) {
  constexpr float kLog2OfE = 1.44269504f, kLog2OfRaised = 15;
  static_assert(kRaised == 1 << 15);
  // The error of a rounding grows with the rounded value: for everything that counts it is near 0,
  // and then near 15.
  const auto exp = [&](float cosine) {
    return exp2f(fmaf(fmaf(scale, cosine, -shift), kLog2OfE, kLog2OfRaised));
  };
  return {exp(cosines.x), exp(cosines.y), exp(cosines.z), exp(cosines.w)};
}

/// The largest of what becomes of four cosines.
template <class Other>
__device__ float largest_of(const Other& other, float4 z) {
  if constexpr (Other::kBends) {
    z = {other(z.x).value, other(z.y).value, other(z.z).value, other(z.w).value};
  }
  return largest(z);
}
/// Stores the probabilities of four cosines, times their slopes; gives their sum.
template <class Other, class P>
__device__ float store_probabilities(const Other& other, float4 z, float scale, float shift,
                                     P* out) {
  if constexpr (Other::kBends) {
    const OtherCosine x = other(z.x), y = other(z.y), v = other(z.z), w = other(z.w);
    const float4 p = exp_of({x.value, y.value, v.value, w.value}, scale, shift);
    store4(out, {p.x * x.slope, p.y * y.slope, p.z * v.slope, p.w * w.slope});
    return total(p);
  } else {
    const float4 p = exp_of(z, scale, shift);
    store4(out, p);
    return total(p);
  }
}

/// [dim] the sum of a sample.
__device__ float* sums_of(const SoftmaxState& state, std::int64_t part, std::int64_t i) {
  return state.d_embeddings + (part * state.samples + i) * state.dim;
}

/// The part of a row of cosines that a thread of a block holds; the block's columns begin at
/// `first`. All loads are requested before the first value is used.
template <int kVectors, int kThreads>
struct HeldCosines {
  int place, columns;  ///< place of the first vector; columns of the row
  float4 values[kVectors];

  __device__ HeldCosines(const float* row, int first, int columns)
      : place(first + static_cast<int>(threadIdx.x) * 4), columns(columns) {
    const float* const from = row + place;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      if (place + k * kStep < columns) values[k] = load4_once(from + k * kStep);
    }
  }
  __device__ void keep(const CountedColumns& counted) {
#pragma unroll
    for (int k = 0; k < kVectors; ++k) values[k] = counted(values[k], place + k * kStep);
  }
  /// Calls f with every vector and its place.
  template <class F>
  __device__ void each(const F& f) const {
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      if (place + k * kStep < columns) f(values[k], place + k * kStep);
    }
  }

 private:
  static constexpr int kStep = kThreads * 4;
};

/// The logits are read once.
template <int kThreads, class Others, class P>
__global__ void __launch_bounds__(kThreads, kLogitThreads / kThreads)
    softmax_tile_kernel(TileShape tile, Logits logits, Others others, const std::int32_t* targets,
                        SoftmaxState state, P* probabilities, float* tile_maximum) {
  const std::int64_t i = blockIdx.x;
  const auto other = others.of(i);
  const int columns = static_cast<int>(tile.classes.size);
  const float before = state.maximum[i];
  HeldCosines<kHeld, kThreads> held(logits.cosines + i * columns, 0, columns);
  held.keep(CountedColumns(tile, logits, targets, i));
  float most = -kInfinity;
  held.each([&](float4 z, int) { most = fmaxf(most, largest_of(other, z)); });
  most = block_reduce(most, [](float a, float b) { return fmaxf(a, b); });
  const float now = fmaxf(before, logits.scale * most), shift = shift_of(now);
  P* const out = probabilities + i * columns;
  float sum = 0;
  held.each(
      [&](float4 z, int j) { sum += store_probabilities(other, z, logits.scale, shift, out + j); });
  sum = block_reduce(sum, [](float a, float b) { return a + b; }) / kRaised;
  const float shrink = before == now ? 1 : expf(before - now);
  if (shrink != 1 && before != -kInfinity) {  // there is a sum already
    for (std::int64_t part = 0; part < state.parts; ++part) {
      float* const d = sums_of(state, part, i);
      for (std::int64_t j = threadIdx.x * 4; j < state.dim; j += blockDim.x * 4)
        store4(d + j, times(load4(d + j), shrink));
    }
  }
  if (threadIdx.x != 0)
    return;  // every thread has read the maximum, because the reductions are barriers
  state.maximum[i] = now;
  state.sum[i] = state.sum[i] * shrink_of(before, now) + double{sum};
  tile_maximum[i] = now;
}

template <class Others, class P>
__global__ void exp_tile_kernel(TileShape tile, Logits logits, Others others,
                                const std::int32_t* targets, const float* tile_maximum,
                                unsigned blocks_a_row, P* probabilities) {
  const std::int64_t i = blockIdx.x / blocks_a_row;
  const auto other = others.of(i);
  const int columns = static_cast<int>(tile.classes.size);
  const int first = static_cast<int>(blockIdx.x % blocks_a_row) * kExpColumns;
  const float shift = shift_of(tile_maximum[i]);
  P* const out = probabilities + i * columns;
  HeldCosines<kExpHeld, kSampleThreads> held(logits.cosines + i * columns, first, columns);
  held.keep(CountedColumns(tile, logits, targets, i));
  held.each([&](float4 z, int j) { store_probabilities(other, z, logits.scale, shift, out + j); });
}

__global__ void merge_softmax_kernel(SoftmaxState state, std::int64_t lanes, OwnClasses own,
                                     float scale, double* locals) {
  const std::int64_t i = blockIdx.x;
  const auto of_lane = [&](const auto* values, std::int64_t lane) {
    return values[lane * state.samples + i];
  };
  float maximum = -kInfinity;
  for (std::int64_t lane = 0; lane < lanes; ++lane)
    maximum = fmaxf(maximum, of_lane(state.maximum, lane));
  const float shift = shift_of(maximum);
  for (std::int64_t j = threadIdx.x * 4; j < state.dim; j += blockDim.x * 4) {
    float4 sum = {0, 0, 0, 0};
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const float keep = expf(of_lane(state.maximum, lane) - shift);
#pragma unroll 4  // so that as many loads are requested at once
      for (std::int64_t part = 0; part < state.parts; ++part)
        sum = sum_of(1, sum, keep, load4(sums_of(state, lane * state.parts + part, i) + j));
    }
    store4(sums_of(state, 0, i) + j, sum);
  }
  double sum = 0;
  for (std::int64_t k = threadIdx.x; k < lanes * state.sums; k += kRowThreads)
    sum += shrink_of(of_lane(state.maximum, k / state.sums), shift) * of_lane(state.sum, k);
  __shared__ double of_warps[kRowWarps];
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = sum;
  __syncthreads();  // all have read what the first thread changes
  if (threadIdx.x != 0) return;
  sum = 0;
  for (int warp = 0; warp < kRowWarps; ++warp) sum += of_warps[warp];
  if (sum == 0) maximum = -kInfinity;  // no class counted, though its shift is a constant
  state.maximum[i] = maximum;
  state.sum[i] = sum;
  locals[3 * i] = double{maximum};
  locals[3 * i + 1] = sum;
  locals[3 * i + 2] = own.targets[i] < 0 ? double{-kInfinity} : own.phi[i] * double{scale};
}

/// Over a block of kSampleThreads; the first thread gets the result.
__device__ double block_sum(double x) {
  __shared__ double parts[kSampleThreads];
  parts[threadIdx.x] = x;
  __syncthreads();
  for (int half = kSampleThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  return parts[0];
}

/// The same, and every thread gets it.
__device__ double block_sum_for_all(double x) {
  __shared__ double all;
  x = block_sum(x);
  if (threadIdx.x == 0) all = x;
  __syncthreads();
  const double sum = all;
  __syncthreads();  // all have read what the next one changes
  return sum;
}

/// One block.
template <class L>
__global__ void follow_batch_kernel(L loss, LossState state) {
  formulas::BatchSum own, batch;
  for (std::int64_t i = threadIdx.x; i < state.samples; i += kSampleThreads) {
    if (state.valid[i] > 0) own.add(loss.observed(sample_of<L>(state, i)));
  }
  batch.count = block_sum_for_all(own.count);
  batch.sum = block_sum_for_all(own.sum);
  own = batch;
  for (std::int64_t i = threadIdx.x; i < state.samples; i += kSampleThreads) {
    if (state.valid[i] > 0) own.add_square(loss.observed(sample_of<L>(state, i)));
  }
  batch.squares = block_sum_for_all(own.squares);
  if (threadIdx.x != 0 || !batch.is_finite()) return;
  Moving<L> moving = moving_numbers<L>(state.moving);
  loss.follow(batch.batch(), moving);
  *reinterpret_cast<Moving<L>*>(state.moving) = moving;
}

/// One block.
__global__ void begin_loss_kernel(const float* valid, std::int64_t batch, float* count,
                                  double* loss, float* skip) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < batch; i += kSampleThreads) sum += valid[i];
  sum = block_sum(sum);
  if (threadIdx.x != 0) return;
  count[0] = static_cast<float>(sum);
  loss[0] = 0;
  skip[0] = 0;
}

/// A block has one sample; its first warp joins the ranks' parts.
__global__ void join_softmax_kernel(JoinedSoftmax joined, SoftmaxState state, OwnClasses own,
                                    float scale, float* d_embeddings) {
  __shared__ float shared_share, shared_rest;
  const std::int64_t i = blockIdx.x;
  const auto of = [&](std::int64_t rank, int what) {
    return joined.all[(rank * joined.samples + i) * 3 + what];
  };
  if (threadIdx.x < kWarp) {
    double maximum = -kInfinity, target = -kInfinity;
    for (std::int64_t rank = threadIdx.x; rank < joined.world; rank += kWarp) {
      maximum = fmax(maximum, of(rank, 0));
      target = fmax(target, of(rank, 2));
    }
    const double shift = shift_of(warp_max(maximum));
    target = warp_max(target);
    double sum = 0;
    for (std::int64_t rank = threadIdx.x; rank < joined.world; rank += kWarp)
      sum += of(rank, 1) * exp(of(rank, 0) - shift);
    sum = warp_sum(sum);
    if (threadIdx.x == 0) {
      const bool valid = joined.valid[i] > 0;
      const auto loss = formulas::own_loss(shift + log(sum), target);
      const double log_sum = valid ? target + loss.loss : double{kInfinity};
      shared_share = static_cast<float>(exp(double{state.maximum[i]} - log_sum));
      shared_rest = valid ? static_cast<float>(loss.rest) : 0;
      joined.log_sum[i] = log_sum;
      const LossTerm penalty = joined.penalties == nullptr ? LossTerm() : joined.penalties[i];
      joined.losses[i] = valid ? loss.loss + penalty.value : 0;
      if (joined.d_lengths != nullptr) {
        const bool counts = valid && own.targets[i] >= 0;
        const double by_length =
            counts ? penalty.slope - double{scale} * loss.rest * own.by_length[i] : 0;
        joined.d_lengths[i] = static_cast<float>(by_length / joined.count[0]);
      }
    }
  }
  __syncthreads();
  const float weight = joined.valid[i] * scale / joined.count[0];
  const bool owned = own.targets[i] >= 0;
  const float of_own = owned ? static_cast<float>(shared_rest * own.slope[i]) : 0;
  const float of_center = of_own * kRaised * kRaised;
  const std::int64_t at = i * state.dim;
  for (std::int64_t j = threadIdx.x * 4; j < state.dim; j += kRowThreads * 4) {
    // Sums of large exponentials and their small shares: first those two, so that each product has
    // all digits.
    float4 d = times(times(load4(state.d_embeddings + at + j), shared_share / kRaised), weight);
    if (owned) {
      d = sum_of(1, d, -of_own * weight, load4(own.d_sample + at + j));
      store4(own.d_center + at + j, times(load4(own.d_center + at + j), of_center));
    }
    store4(d_embeddings + at + j, d);
  }
}

/// One block, so that the loss is always summed in the same order.
__global__ void sum_losses_kernel(JoinedSoftmax joined, float scale) {
  const double count = joined.count[0];
  double loss = 0;
  for (std::int64_t i = threadIdx.x; i < joined.samples; i += kSampleThreads)
    loss += joined.losses[i];
  loss = block_sum(loss);
  if (threadIdx.x != 0) return;
  joined.worth[0] = static_cast<float>(scale / (count * kRaised * kRaised));
  joined.loss[0] += loss / count;
  if (!isfinite(joined.loss[0])) joined.skip[0] = 1;
}

template <class T>
__global__ void weigh_embeddings_kernel(Samples samples, JoinedSoftmax joined,
                                        const float* tile_maximum, const float* before,
                                        std::int64_t dim, T* weighted) {
  const std::int64_t i = warp_row();
  if (i >= samples.count) return;
  if (before != nullptr && before[i] == tile_maximum[i]) return;
  const float factor =
      kRaised * static_cast<float>(exp(double{tile_maximum[i]} - joined.log_sum[i]));
  for (std::int64_t j = lane_start(); j < dim; j += kLaneStep)
    store4(weighted + i * dim + j, times(load4(samples.embeddings + i * dim + j), factor));
}

/// Calls body with the number of threads, as a constant, that hold a row of `columns` columns.
template <class Body>
void with_threads(std::int64_t columns, const Body& body) {
  constexpr int kMost = kMostColumns / 4 / kHeld;
  if (columns <= kMostColumns / 4) return body(std::integral_constant<int, kMost / 4>());
  if (columns <= kMostColumns / 2) return body(std::integral_constant<int, kMost / 2>());
  body(std::integral_constant<int, kMost>());
}

}  // namespace

void begin_samples(const float* embeddings, const Samples& samples, const SoftmaxState& state,
                   std::int64_t lanes, float maximum, Stream stream) {
  with_type(samples.x, [&](auto* rounded) {
    begin_samples_kernel<<<blocks_for(samples.count, kRowWarps), kRowThreads, 0, stream>>>(
        embeddings, samples, rounded, state, lanes, maximum);
  });
  check_launch("begin_samples");
}

void own_cosines(const Table& table, const SampledRows& sampled, const Samples& samples,
                 const OwnClasses& own, Stream stream) {
  with_types(table, [&](const auto* weights, const auto* state) {
    own_cosines_kernel<<<blocks_for(samples.count, kRowWarps), kRowThreads, 0, stream>>>(
        table, weights, state, sampled, samples, own);
  });
  check_launch("own_cosines");
}

void follow_batch(const Loss& loss, const LossState& state, Stream stream) {
  std::visit(
      [&]<class L>(const L& one) {
        if constexpr (kLossMoves<L>) {
          follow_batch_kernel<<<1, kSampleThreads, 0, stream>>>(one, state);
        }
      },
      loss);
  check_launch("follow_batch");
}

void apply_loss(const Loss& loss, const LossState& state, const OwnClasses& own, Stream stream) {
  const unsigned blocks = blocks_for(state.samples, kSampleThreads);
  std::visit(
      [&](const auto& one) {
        apply_loss_kernel<<<blocks, kSampleThreads, 0, stream>>>(one, state, own);
      },
      loss);
  check_launch("apply_loss");
}

void keep_nearest(const TileShape& tile, const Logits& logits, Stream stream) {
  const std::int64_t classes = tile.samples * (tile.classes.size / logits.centers);
  keep_nearest_kernel<<<blocks_for(classes, kSampleThreads), kSampleThreads, 0, stream>>>(tile,
                                                                                          logits);
  check_launch("keep_nearest");
}

void softmax_tile(const TileShape& tile, const Loss& loss, const Logits& logits,
                  const std::int32_t* targets, const SoftmaxState& state, Operand probabilities,
                  float* tile_maximum, Stream stream) {
  with_others(loss, logits, [&](auto others) {
    with_type(probabilities, [&](auto* out) {
      with_threads(tile.classes.size, [&](auto size) {
        softmax_tile_kernel<size()><<<static_cast<unsigned>(tile.samples), size(), 0, stream>>>(
            tile, logits, others, targets, state, out, tile_maximum);
      });
    });
  });
  check_launch("softmax_tile");
}

void merge_softmax(const SoftmaxState& state, std::int64_t lanes, const OwnClasses& own,
                   float scale, double* locals, Stream stream) {
  merge_softmax_kernel<<<static_cast<unsigned>(state.samples), kRowThreads, 0, stream>>>(
      state, lanes, own, scale, locals);
  check_launch("merge_softmax");
}

void exp_tile(const TileShape& tile, const Loss& loss, const Logits& logits,
              const std::int32_t* targets, const float* tile_maximum, Operand probabilities,
              Stream stream) {
  const unsigned blocks_a_row = blocks_for(tile.classes.size, kExpColumns);
  const unsigned blocks = static_cast<unsigned>(tile.samples) * blocks_a_row;
  with_others(loss, logits, [&](auto others) {
    with_type(probabilities, [&](auto* out) {
      exp_tile_kernel<<<blocks, kSampleThreads, 0, stream>>>(tile, logits, others, targets,
                                                             tile_maximum, blocks_a_row, out);
    });
  });
  check_launch("exp_tile");
}

void begin_loss(const float* valid, std::int64_t batch, float* count, double* loss, float* skip,
                Stream stream) {
  begin_loss_kernel<<<1, kSampleThreads, 0, stream>>>(valid, batch, count, loss, skip);
  check_launch("begin_loss");
}

void join_softmax(const JoinedSoftmax& joined, const SoftmaxState& state, const OwnClasses& own,
                  float scale, float* d_embeddings, Stream stream) {
  join_softmax_kernel<<<static_cast<unsigned>(joined.samples), kRowThreads, 0, stream>>>(
      joined, state, own, scale, d_embeddings);
  sum_losses_kernel<<<1, kSampleThreads, 0, stream>>>(joined, scale);
  check_launch("join_softmax");
}

void weigh_embeddings(const Samples& samples, const JoinedSoftmax& joined,
                      const float* tile_maximum, const float* before, std::int64_t dim,
                      Operand weighted, Stream stream) {
  with_type(weighted, [&](auto* out) {
    weigh_embeddings_kernel<<<blocks_for(samples.count, kRowWarps), kRowThreads, 0, stream>>>(
        samples, joined, tile_maximum, before, dim, out);
  });
  check_launch("weigh_embeddings");
}

}  // namespace pfc::kernels::cuda
