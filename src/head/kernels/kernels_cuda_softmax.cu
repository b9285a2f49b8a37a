#include <algorithm>
#include <limits>

#include "head/kernels/kernels_cuda_device.h"

namespace pfc::kernels::cuda {
namespace {

/// A softmax's block: of its sample's logits a thread holds kHeld times four. Three blocks share a
/// multiprocessor, so that one reads while others reckon.
constexpr int kHeld = 4, kLogitThreads = kMostColumns / 4 / kHeld, kLogitBlocks = 3;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// What is subtracted from logits that have this maximum: of none, or only such as do not count,
/// the exponentials are 0 then, and not NaN.
__device__ float shift_of(float maximum) {
  return maximum == -kInfinity ? 0 : maximum;
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

/// The logits of a sample's row, four columns at a time, −∞ where a class does not count and where
/// it is the sample's own.
struct LogitRow {
  const float* cosines;
  int count, own;  ///< columns; the sample's own one, or outside of them
  float scale, threshold;

  __device__ LogitRow(const TileShape& tile, const Logits& logits, const std::int32_t* targets,
                      std::int64_t i)
      : cosines(logits.cosines + i * tile.classes.size),
        count(static_cast<int>(std::clamp<std::int64_t>(
            tile.classes.step->count - tile.classes.begin, 0, tile.classes.size))),
        own(targets[i] < 0 ? -1 : static_cast<int>(targets[i] - tile.classes.begin)),
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
  __device__ float at(float z, int j) const { return j == own || j >= count ? -kInfinity : z; }
};

__device__ float largest(float4 z) {
  return fmaxf(fmaxf(z.x, z.y), fmaxf(z.z, z.w));
}
__device__ float4 exp_of(float4 z, float shift) {
  // The fast exponential's error grows with its argument, which is near 0 for all that counts.
  return {__expf(z.x - shift), __expf(z.y - shift), __expf(z.z - shift), __expf(z.w - shift)};
}

/// [dim] of a sample's sum.
__device__ float* sums_of(const SoftmaxState& state, std::int64_t part, std::int64_t i) {
  return state.d_embeddings + (part * state.samples + i) * state.dim;
}

/// The logits are read once, and held.
template <class P>
__global__ void __launch_bounds__(kLogitThreads, kLogitBlocks)
    softmax_tile_kernel(TileShape tile, Logits logits, const std::int32_t* targets,
                        SoftmaxState state, P* probabilities, float* tile_maximum) {
  const std::int64_t i = blockIdx.x;
  const LogitRow row(tile, logits, targets, i);
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
  const float shift = shift_of(now);
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const int j = first + k * step;
    if (j >= columns) continue;
    const float4 p = exp_of(held[k], shift);
    store4(probabilities + i * tile.classes.size + j, times(p, kRaised));
    sum += (p.x + p.y) + (p.z + p.w);
  }
  sum = block_reduce(sum, [](float a, float b) { return a + b; });
  const float shrink = before == now ? 1 : expf(before - now);
  if (shrink != 1 && before != -kInfinity) {  // there is a sum
    for (std::int64_t part = 0; part < state.parts; ++part) {
      float* const d = sums_of(state, part, i);
      for (std::int64_t j = first; j < state.dim; j += step)
        store4(d + j, times(load4(d + j), shrink));
    }
  }
  if (threadIdx.x != 0) return;  // every thread has read the maximum: the reductions are barriers
  state.maximum[i] = now;
  state.sum[i] = state.sum[i] * shrink + sum;
  tile_maximum[i] = shift;
}

template <class P>
__global__ void exp_tile_kernel(TileShape tile, Logits logits, const std::int32_t* targets,
                                const float* tile_maximum, P* probabilities) {
  const std::int64_t i = blockIdx.x;
  const LogitRow row(tile, logits, targets, i);
  const int columns = static_cast<int>(tile.classes.size), step = static_cast<int>(blockDim.x) * 4;
  for (int j = static_cast<int>(threadIdx.x) * 4; j < columns; j += step)
    store4(probabilities + i * tile.classes.size + j,
           times(exp_of(row(j), tile_maximum[i]), kRaised));
}

__global__ void merge_softmax_kernel(SoftmaxState state, SoftmaxState other) {
  const std::int64_t i = blockIdx.x;
  const float ours = state.maximum[i], theirs = other.maximum[i], now = fmaxf(ours, theirs);
  const float shift = shift_of(now);
  const float keep = expf(ours - shift), add = expf(theirs - shift);
  __syncthreads();  // all have read what the first one changes
  for (std::int64_t j = threadIdx.x * 4; j < state.dim; j += blockDim.x * 4) {
    float4 sum = {0, 0, 0, 0};
    for (std::int64_t part = 0; part < state.parts; ++part) {
      const float4 both =
          sum_of(keep, load4(sums_of(state, part, i) + j), add, load4(sums_of(other, part, i) + j));
      sum = sum_of(1, sum, 1, both);
    }
    store4(sums_of(state, 0, i) + j, sum);
  }
  if (threadIdx.x != 0) return;
  state.maximum[i] = now;
  state.sum[i] = keep * state.sum[i] + add * other.sum[i];
}

__global__ void pack_softmax_kernel(SoftmaxState state, OwnClasses own, float scale,
                                    float* locals) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= state.samples) return;
  locals[3 * i] = state.maximum[i];
  locals[3 * i + 1] = state.sum[i];
  locals[3 * i + 2] =
      own.targets[i] < 0 ? -kInfinity : static_cast<float>(own.phi[i] * double{scale});
}

__global__ void join_softmax_kernel(JoinedSoftmax joined) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= joined.samples) return;
  const auto of = [&](std::int64_t rank, int what) {
    return joined.all[(rank * joined.samples + i) * 3 + what];
  };
  float maximum = -kInfinity, target = -kInfinity;
  for (std::int64_t rank = 0; rank < joined.world; ++rank) {
    maximum = fmaxf(maximum, of(rank, 0));
    target = fmaxf(target, of(rank, 2));
  }
  const float shift = shift_of(maximum);
  float sum = 0;
  for (std::int64_t rank = 0; rank < joined.world; ++rank)
    sum += of(rank, 1) * expf(of(rank, 0) - shift);
  const auto own = formulas::own_loss(double{shift} + log(double{sum}), target);
  const bool valid = joined.valid[i] > 0;
  joined.log_sum[i] = valid ? static_cast<float>(target + own.loss) : kInfinity;
  joined.rest[i] = valid ? static_cast<float>(own.rest) : 0;
  joined.losses[i] = valid ? own.loss : 0;
}

/// One block: the loss is summed in the same order always.
__global__ void sum_losses_kernel(JoinedSoftmax joined, float scale) {
  __shared__ double parts[kSampleThreads];
  const double count = joined.count[0];
  double loss = 0;
  for (std::int64_t i = threadIdx.x; i < joined.samples; i += kSampleThreads)
    loss += joined.losses[i];
  parts[threadIdx.x] = loss;
  __syncthreads();
  for (int half = kSampleThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  joined.worth[0] = static_cast<float>(scale / (count * kRaised * kRaised));
  joined.loss[0] += parts[0] / count;
  if (!isfinite(joined.loss[0])) joined.skip[0] = 1;
}

__global__ void finish_embeddings_kernel(JoinedSoftmax joined, SoftmaxState state, OwnClasses own,
                                         float scale) {
  const std::int64_t i = blockIdx.x;
  const float log_sum = joined.log_sum[i];
  const float weight = joined.valid[i] * scale / joined.count[0];
  const float factor = weight * expf(state.maximum[i] - log_sum) / kRaised;
  const bool owned = own.targets[i] >= 0;
  const float of_own = owned ? static_cast<float>(joined.rest[i] * own.slope[i]) : 0;
  const float of_center = of_own * kRaised * kRaised;
  const std::int64_t at = i * state.dim;
  for (std::int64_t j = threadIdx.x * 4; j < state.dim; j += kSampleThreads * 4) {
    float4 d = times(load4(state.d_embeddings + at + j), factor);
    if (owned) {
      d = sum_of(1, d, -of_own * weight, load4(own.d_sample + at + j));
      store4(own.d_center + at + j, times(load4(own.d_center + at + j), of_center));
    }
    store4(state.d_embeddings + at + j, d);
  }
}

template <class T>
__global__ void weigh_embeddings_kernel(const float* embeddings, JoinedSoftmax joined,
                                        const float* tile_maximum, std::int64_t dim, T* weighted) {
  const std::int64_t i = warp_row();
  if (i >= joined.samples) return;
  // A maximum above the sum is that of a tile where nothing counts: its probabilities are 0.
  const float factor = kRaised * expf(fminf(tile_maximum[i] - joined.log_sum[i], 0));
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

}  // namespace

void prepare_own_classes(const Table& table, const SampledRows& sampled, const float* embeddings,
                         std::int64_t samples, const Margin::Terms& margin, const OwnClasses& own,
                         Stream stream) {
  with_types(table, [&](const auto* weights, const auto* state) {
    prepare_own_kernel<<<blocks_for(samples, kRowWarps), kRowThreads, 0, stream>>>(
        table, weights, state, sampled, embeddings, samples, margin, own);
  });
  check_launch("prepare_own_classes");
}

void softmax_tile(const TileShape& tile, const Logits& logits, const std::int32_t* targets,
                  const SoftmaxState& state, Operand probabilities, float* tile_maximum,
                  Stream stream) {
  with_type(probabilities, [&](auto* out) {
    const unsigned warps = blocks_for(tile.classes.size, 4 * kHeld * kWarp);
    softmax_tile_kernel<<<static_cast<unsigned>(tile.samples), warps * kWarp, 0, stream>>>(
        tile, logits, targets, state, out, tile_maximum);
  });
  check_launch("softmax_tile");
}

void merge_softmax(const SoftmaxState& state, const SoftmaxState& other, Stream stream) {
  merge_softmax_kernel<<<static_cast<unsigned>(state.samples), kRowThreads, 0, stream>>>(state,
                                                                                         other);
  check_launch("merge_softmax");
}

void exp_tile(const TileShape& tile, const Logits& logits, const std::int32_t* targets,
              const float* tile_maximum, Operand probabilities, Stream stream) {
  with_type(probabilities, [&](auto* out) {
    exp_tile_kernel<<<static_cast<unsigned>(tile.samples), kSampleThreads, 0, stream>>>(
        tile, logits, targets, tile_maximum, out);
  });
  check_launch("exp_tile");
}

void pack_softmax(const SoftmaxState& state, const OwnClasses& own, float scale, float* locals,
                  Stream stream) {
  pack_softmax_kernel<<<blocks_for(state.samples, kSampleThreads), kSampleThreads, 0, stream>>>(
      state, own, scale, locals);
  check_launch("pack_softmax");
}

void join_softmax(const JoinedSoftmax& joined, float scale, Stream stream) {
  constexpr int kThreads = 64;  // so that a thousand samples have more than a few multiprocessors
  join_softmax_kernel<<<blocks_for(joined.samples, kThreads), kThreads, 0, stream>>>(joined);
  sum_losses_kernel<<<1, kSampleThreads, 0, stream>>>(joined, scale);
  check_launch("join_softmax");
}

void finish_embeddings(const JoinedSoftmax& joined, const SoftmaxState& state,
                       const OwnClasses& own, float scale, Stream stream) {
  finish_embeddings_kernel<<<static_cast<unsigned>(joined.samples), kSampleThreads, 0, stream>>>(
      joined, state, own, scale);
  check_launch("finish_embeddings");
}

void weigh_embeddings(const float* embeddings, const JoinedSoftmax& joined,
                      const float* tile_maximum, std::int64_t dim, Operand weighted,
                      Stream stream) {
  with_type(weighted, [&](auto* out) {
    weigh_embeddings_kernel<<<blocks_for(joined.samples, kRowWarps), kRowThreads, 0, stream>>>(
        embeddings, joined, tile_maximum, dim, out);
  });
  check_launch("weigh_embeddings");
}

void subtract_own(const OwnedOrder& owned, const float* d_center, const SampledRows& sampled,
                  std::int64_t dim, float* d_unit, Stream stream) {
  subtract_own_kernel<<<blocks_for(owned.most, kRowWarps), kRowThreads, 0, stream>>>(
      owned, d_center, sampled, dim, d_unit);
  check_launch("subtract_own");
}

}  // namespace pfc::kernels::cuda
