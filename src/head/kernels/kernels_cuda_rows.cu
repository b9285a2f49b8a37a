#include <type_traits>

#include "head/kernels/kernels_cuda_device.h"

namespace pfc::kernels::cuda {
namespace {

using formulas::AdamWStep;

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
/// Four numbers at each of a lane's places: held, or loaded again by load(j). What `finish` makes
/// of them is made when all of them, and what was loaded before, are on their way.
template <int kHeldVectors, class Load, class Finish>
struct Held {
  const Load& load;
  Finish finish;
  float4 values[kHeldVectors > 0 ? kHeldVectors : 1];

  __device__ Held(std::int64_t dim, const Load& from, const Finish& then)
      : load(from), finish(then) {
    if constexpr (kHeldVectors > 0) {
      for_lane<kHeldVectors>(dim, [&](int k, std::int64_t j) { values[k] = load(j); });
      for_lane<kHeldVectors>(dim, [&](int k, std::int64_t j) { values[k] = finish(values[k], j); });
    }
  }
  __device__ float4 operator()(int k, std::int64_t j) const {
    if constexpr (kHeldVectors > 0) return values[k];
    return finish(load(j), j);
  }
};
struct AsLoaded {
  __device__ float4 operator()(float4 x, std::int64_t) const { return x; }
};
template <int kHeldVectors, class Load, class Finish = AsLoaded>
__device__ Held<kHeldVectors, Load, Finish> held(std::int64_t dim, const Load& load,
                                                 const Finish& finish = {}) {
  return {dim, load, finish};
}

/// Calls body with kUsual or 0 as a constant.
template <class Body>
void with_size(std::int64_t dim, const Body& body) {
  if (dim == kUsual * kLaneStep) return body(std::integral_constant<int, kUsual>());
  return body(std::integral_constant<int, 0>());
}

__device__ std::int64_t class_of(const Table& table, std::int64_t row) {
  return table.first_class + (table.numbers == nullptr ? row : table.numbers[row]);
}

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

__global__ void upload_words_kernel(const std::uint32_t* from, std::int64_t count,
                                    std::uint32_t* to) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kSampleThreads + threadIdx.x;
  if (i < count) to[i] = from[i];
}

__global__ void find_owned_kernel(OwnedOrder order, const StepScalars* step) {
  const std::int64_t k = std::int64_t{blockIdx.x} * kSampleThreads + threadIdx.x;
  if (k >= step->owned) return;
  const std::int32_t place = order.places[k];
  if (k == 0 || order.places[k - 1] != place) order.first[place] = static_cast<std::int32_t>(k);
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

/// The loss's gradient by a tile's i-th unit centre, divided by worth.
struct CenterGradient {
  const CenterGradients& all;
  const SampledRows& sampled;
  std::int64_t dim, i;
  std::int32_t first;  ///< see OwnedOrder

  __device__ CenterGradient(const CenterGradients& gradients, const SampledRows& sampled,
                            std::int64_t dim, std::int64_t i)
      : all(gradients),
        sampled(sampled),
        dim(dim),
        i(i),
        first(gradients.owned.first[sampled.begin + i]) {}
  /// Four numbers of d_unit from j on.
  __device__ float4 load(std::int64_t j) const { return load4_once(all.d_unit + i * dim + j); }
  __device__ float4 finish(float4 d, std::int64_t j) const {
    for (std::int32_t k = first; k >= 0 && is_its(k); ++k)
      d = sum_of(1, d, -1, load4(all.d_center + all.owned.samples[k] * dim + j));
    return all.so_far == nullptr ? d : sum_of(1, d, 1, load4(all.so_far + i * dim + j));
  }
  __device__ float4 operator()(std::int64_t j) const { return finish(load(j), j); }

 private:
  __device__ bool is_its(std::int32_t k) const {
    return k < sampled.step->owned && all.owned.places[k] == sampled.begin + i;
  }
};

__global__ void sum_gradients_kernel(SampledRows sampled, CenterGradients gradients,
                                     std::int64_t dim, float* total) {
  const std::int64_t i = warp_row();
  if (i >= sampled.size) return;
  const CenterGradient gradient(gradients, sampled, dim, i);
  for (std::int64_t j = lane_start(); j < dim; j += kLaneStep)
    store4(total + i * dim + j, gradient(j));
}

template <int kHeldVectors, class W, class V>
__global__ void update_sgd_kernel(Table table, W* weights, V* state, SampledRows sampled,
                                  CenterGradients gradients, CounterRandom random,
                                  const float* skip) {
  const std::int64_t i = warp_row();
  const std::int64_t row = row_at(sampled, i);
  if (row < 0 || skip[0] != 0) return;
  const StepScalars& rule = *sampled.step;
  const CaughtUp old(table, weights, state, row);
  const float inverse = gradients.inverse_norm[i], worth = gradients.worth[0];
  const auto load_weight = [&](std::int64_t j) { return load4_once(old.w + j); };
  const auto load_velocity = [&](std::int64_t j) { return load4_once(old.v + j); };
  const CenterGradient gradient(gradients, sampled, table.dim, i);
  const auto load_d_unit = [&](std::int64_t j) { return gradient.load(j); };
  const auto finish = [&](float4 d, std::int64_t j) { return times(gradient.finish(d, j), worth); };
  const auto x = held<kHeldVectors>(table.dim, load_weight);
  const auto y = held<kHeldVectors>(table.dim, load_velocity);
  const auto g = held<kHeldVectors>(table.dim, load_d_unit, finish);
  const auto weight = [&](int k, std::int64_t j) { return old.weight(x(k, j), y(k, j)); };
  float along = 0;
  for_lane<kHeldVectors>(table.dim,
                         [&](int k, std::int64_t j) { along += dot(g(k, j), weight(k, j)); });
  along = warp_sum(along) * inverse;
  RoundingKey key{};
  if constexpr (std::is_same_v<W, BFloat16> || std::is_same_v<V, BFloat16>)
    key = rounding_key(random, class_of(table, row), rule.change);
  const formulas::SgdStep sgd = rule.sgd;
  for_lane<kHeldVectors>(table.dim, [&](int k, std::int64_t j) {
    const float4 w = weight(k, j), before = old.velocity(x(k, j), y(k, j)), d = g(k, j);
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
                                    SampledRows sampled, CenterGradients gradients,
                                    CounterRandom random, const float* skip) {
  constexpr auto kEpsilon = static_cast<float>(AdamWStep::kEpsilon),
                 kRest1 = static_cast<float>(AdamWStep::kRest1),
                 kRest2 = static_cast<float>(AdamWStep::kRest2);
  const std::int64_t i = warp_row();
  const std::int64_t row = row_at(sampled, i), at = row * table.dim;
  if (row < 0 || skip[0] != 0) return;
  const StepScalars& rule = *sampled.step;
  const int update = table.updates[row] + 1;
  const AdamWStep step = formulas::adamw_step(rule.lr, rule.weight_decay, update);
  const float inverse = gradients.inverse_norm[i], worth = gradients.worth[0];
  const CenterGradient gradient(gradients, sampled, table.dim, i);
  const auto d_unit = [&](std::int64_t j) { return times(gradient(j), worth); };
  float along = 0;
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep)
    along += dot(d_unit(j), load4_once(weights + at + j));
  along = warp_sum(along) * inverse;
  RoundingKey key{};
  if constexpr (std::is_same_v<W, BFloat16> || std::is_same_v<V, BFloat16>)
    key = rounding_key(random, class_of(table, row), rule.change);
  const RoundingKey other{key.second, key.first};  // three draws of 16 bits do not fit into 32
  for (std::int64_t j = lane_start(); j < table.dim; j += kLaneStep) {
    const float4 x = load4_once(weights + at + j);
    const float4 g = each(d_unit(j), x, [&](float d, float w) {
      return formulas::through_norm(d, w, along, inverse);
    });
    const float4 m = each(load4_once(means + at + j), g, [&](float mean, float gradient) {
      return mean + kRest1 * (gradient - mean);
    });
    const float4 v = each(load4_once(squares + at + j), g, [&](float square, float gradient) {
      return square + kRest2 * (gradient * gradient - square);
    });
    const float4 move = each(m, v, [&](float mean, float square) {
      return mean / (std::sqrt(square) * step.root_correction + kEpsilon);
    });
    const float4 change = sum_of(step.decay, x, step.rate, move);
    const auto place = static_cast<std::uint32_t>(j);
    round4(means + at + j, m, key, place, 16);
    round4(squares + at + j, v, other, place, 0);
    round4(weights + at + j, sum_of(1, x, -1, change), key, place, 0);
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
    const float4 x = load4_once(old.w + j), y = load4_once(old.v + j);
    const float4 w = old.weight(x, y), v = old.velocity(x, y);
    const auto place = static_cast<std::uint32_t>(j);
    if constexpr (!std::is_same_v<V, Nothing>)
      round4(state + row * table.dim + j, v, key, place, 16);
    round4(weights + row * table.dim + j, w, key, place, 0);
  }
}

}  // namespace

void upload_words(const std::uint32_t* from, std::int64_t count, std::uint32_t* to, Stream stream) {
  if (count == 0) return;
  upload_words_kernel<<<blocks_for(count, kSampleThreads), kSampleThreads, 0, stream>>>(from, count,
                                                                                        to);
  check_launch("upload_words");
}

void find_owned(const OwnedOrder& order, const StepScalars* step, std::int64_t most,
                Stream stream) {
  if (most == 0) return;
  find_owned_kernel<<<blocks_for(most, kSampleThreads), kSampleThreads, 0, stream>>>(order, step);
  check_launch("find_owned");
}

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

void sum_gradients(const SampledRows& sampled, const CenterGradients& gradients, std::int64_t dim,
                   float* total, Stream stream) {
  sum_gradients_kernel<<<blocks_for(sampled.size, kRowWarps), kRowThreads, 0, stream>>>(
      sampled, gradients, dim, total);
  check_launch("sum_gradients");
}

void update_rows(const Table& table, const SampledRows& sampled, bool adamw,
                 const CenterGradients& gradients, const CounterRandom& random, const float* skip,
                 Stream stream) {
  const unsigned blocks = blocks_for(sampled.size, kRowWarps);
  with_types(table, [&](auto* weights, auto* state) {
    if (adamw) {
      update_adamw_kernel<<<blocks, kRowThreads, 0, stream>>>(
          table, weights, state, static_cast<decltype(state)>(table.squares), sampled, gradients,
          random, skip);
    } else {
      with_size(table.dim, [&](auto size) {
        update_sgd_kernel<size()><<<blocks, kRowThreads, 0, stream>>>(
            table, weights, state, sampled, gradients, random, skip);
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
