#include <array>
#include <type_traits>
#include <utility>

#include "head/kernels/kernels_cuda_device.h"

namespace pfc::kernels::cuda {
namespace {

/// The row of a table at a place of a step's rows, or −1 for an empty place.
__device__ std::int64_t row_at(const SampledRows& sampled, std::int64_t i) {
  const std::int64_t place = sampled.begin + i;
  return i < sampled.size && place < sampled.step->count ? sampled.rows[place] : -1;
}

/// How many values of an ascending list are below x.
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

/// Calls f(k, j) for each place j of a row where this lane has four numbers. In a row of usual
/// length a lane has kUsual of them, which fit into its registers. kHeldVectors is kUsual, or 0 for
/// any number.
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
/// What load(j) gives at each of a lane's places: held, or loaded again. What `finish` makes of it
/// is made when all of it, and what was loaded before, are on their way.
template <int kHeldVectors, class Load, class Finish>
struct Held {
  using Value = decltype(std::declval<Load>()(std::int64_t{}));
  const Load& load;
  Finish finish;
  Value values[kHeldVectors > 0 ? kHeldVectors : 1];

  __device__ Held(std::int64_t dim, const Load& from, const Finish& then)
      : load(from), finish(then) {
    if constexpr (kHeldVectors > 0) {
      for_lane<kHeldVectors>(dim, [&](int k, std::int64_t j) { values[k] = load(j); });
      for_lane<kHeldVectors>(dim, [&](int k, std::int64_t j) { values[k] = finish(values[k], j); });
    }
  }
  __device__ Value operator()(int k, std::int64_t j) const {
    if constexpr (kHeldVectors > 0) return values[k];
    return finish(load(j), j);
  }
};
struct AsLoaded {
  template <class Value>
  __device__ Value operator()(const Value& x, std::int64_t) const {
    return x;
  }
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

/// Merges two ascending lists: each entry counts how many entries of the other list lie below it.
__global__ void list_rows_kernel(StratifiedDraw drawn, const std::int64_t* listed,
                                 std::int64_t others, std::int64_t centers, std::int64_t* rows) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kSampleThreads + threadIdx.x;
  const std::int64_t count = drawn.count();
  const auto put = [&](std::int64_t place, std::int64_t of_class) {
    for (std::int64_t k = 0; k < centers; ++k) rows[place * centers + k] = of_class * centers + k;
  };
  if (i < count) {
    const std::int64_t of_class = drawn.row(i).v;
    put(i + lower_bound(listed, others, of_class), of_class);
  } else if (i < count + others) {
    const std::int64_t k = i - count, of_class = listed[k];
    put(k + drawn.below({of_class}), of_class);
  }
}

/// A warp copies a row with its optimizer state, 16 bytes in each lane at a time.
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
  for (std::size_t k = 0; k < kMostStates; ++k) copy(from.states[k], to.states[k], from.state_type);
  if (lane != 0) return;
  if (from.updates != nullptr) to.updates[j] = from.updates[i];
  if (from.steps_seen != nullptr) to.steps_seen[j] = from.steps_seen[i];
}

/// The place of `row` in an ascending list, or -1.
__device__ std::int64_t place_of(std::int64_t row, const std::int64_t* rows, std::int64_t count) {
  const std::int64_t at = lower_bound(rows, count, row);
  return at < count && rows[at] == row ? at : -1;
}

__device__ bool is_left_out(std::int64_t row, const LeftOut& left_out) {
  for (int i = 0; i < LeftOut::kLists; ++i) {
    if (place_of(row, left_out.rows[i], left_out.counts[i]) >= 0) return true;
  }
  return false;
}

__global__ void load_rows_kernel(Table whole, Table part, std::int64_t count, LeftOut left_out) {
  const std::int64_t i = warp_row();
  if (i >= count || is_left_out(part.numbers[i], left_out)) return;
  copy_row(whole, part.numbers[i], part, i);
}

__global__ void store_rows_kernel(Table part, Table whole, std::int64_t count, LeftOut left_out) {
  const std::int64_t i = warp_row();
  if (i >= count || is_left_out(part.numbers[i], left_out)) return;
  copy_row(part, i, whole, part.numbers[i]);
}

__global__ void forward_rows_kernel(Table from, std::int64_t from_count, Table to,
                                    std::int64_t to_count) {
  const std::int64_t i = warp_row();
  if (i >= to_count) return;
  const std::int64_t at = place_of(to.numbers[i], from.numbers, from_count);
  if (at >= 0) copy_row(from, at, to, i);
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

/// The loss's gradient by a tile's i-th unit centre.
struct CenterGradient {
  const CenterGradients& all;
  const SampledRows& sampled;
  std::int64_t dim, i;
  std::int32_t of_class;  ///< place of its class's first row
  std::int32_t first;     ///< see OwnedOrder

  __device__ CenterGradient(const CenterGradients& gradients, const SampledRows& sampled,
                            std::int64_t dim, std::int64_t i)
      : all(gradients),
        sampled(sampled),
        dim(dim),
        i(i),
        of_class(static_cast<std::int32_t>((sampled.begin + i) / gradients.owned.centers *
                                           gradients.owned.centers)),
        first(gradients.owned.first[of_class]) {}
  /// Four numbers of d_unit beginning at j.
  __device__ float4 load(std::int64_t j) const { return load4_once(all.d_unit + i * dim + j); }
  __device__ float4 finish(float4 d, std::int64_t j) const {
    for (std::int32_t k = first; k >= 0 && is_of_class(k); ++k) {
      if (!is_nearest(k)) continue;
      d = sum_of(1, d, -1, load4(all.d_center + all.owned.samples[k] * dim + j));
    }
    const float worth = all.worth[0];
    return all.so_far == nullptr ? times(d, worth)
                                 : sum_of(worth, d, 1, load4(all.so_far + i * dim + j));
  }
  __device__ float4 operator()(std::int64_t j) const { return finish(load(j), j); }

 private:
  __device__ bool is_of_class(std::int32_t k) const {
    return k < sampled.step->owned && all.owned.places[k] == of_class;
  }
  /// Whether it is the nearest of its class's centres to that sample.
  __device__ bool is_nearest(std::int32_t k) const {
    return all.owned.centers == 1 || all.owned.nearest[all.owned.samples[k]] == sampled.begin + i;
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

template <int kHeldVectors, class Rule, class W, class V>
__global__ void update_rows_kernel(std::type_identity<Rule>, Table table, W* weights, V* state,
                                   SampledRows sampled, CenterGradients gradients,
                                   CounterRandom random, const float* skip) {
  constexpr std::size_t kStates = Rule::kStates.size();
  static_assert(kStates <= kMostStates);
  const std::int64_t i = warp_row();
  const std::int64_t row = row_at(sampled, i), begin = row * table.dim;
  if (row < 0 || skip[0] != 0) return;
  const StepScalars& step = *sampled.step;
  const std::int32_t number = Rule::kCountsUpdates ? table.updates[row] + 1 : 1;
  const Rule rule(step.optimizer, step.lr, number);
  const CaughtUp old(table, weights, state, row);
  const float inverse = gradients.inverse_norm[i];
  const auto state_at = [&](std::size_t k, std::int64_t j) {
    return static_cast<V*>(table.states[k]) + begin + j;
  };
  const auto load_weight = [&](std::int64_t j) { return load4_once(old.w + j); };
  const auto load_states = [&](std::int64_t j) {
    std::array<Four, kStates> numbers;
#pragma unroll
    for (std::size_t k = 0; k < kStates; ++k) numbers[k] = load4_once(state_at(k, j));
    return numbers;
  };
  const CenterGradient gradient(gradients, sampled, table.dim, i);
  const auto load_d_unit = [&](std::int64_t j) { return gradient.load(j); };
  const auto finish = [&](float4 d, std::int64_t j) { return gradient.finish(d, j); };
  const auto x = held<kHeldVectors>(table.dim, load_weight);
  const auto y = held<kHeldVectors>(table.dim, load_states);
  const auto g = held<kHeldVectors>(table.dim, load_d_unit, finish);
  const auto weight = [&](int k, std::int64_t j) {
    if constexpr (CatchesUp<Rule>) return old.weight(x(k, j), y(k, j)[0].v);
    return x(k, j);
  };
  float along = 0;
  for_lane<kHeldVectors>(table.dim,
                         [&](int k, std::int64_t j) { along += dot(g(k, j), weight(k, j)); });
  along = warp_sum(along) * inverse;
  const float of_w = rules::gradient_of_w(rule.decay(), along, inverse);
  RoundingKey key{};
  if constexpr (std::is_same_v<W, BFloat16> || std::is_same_v<V, BFloat16>)
    key = rounding_key(random, class_of(table, row), step.change);
  // A component draws 32 bits for its weight and its first state, and 32 for the others.
  const RoundingKey other{key.second, key.first};
  for_lane<kHeldVectors>(table.dim, [&](int k, std::int64_t j) {
    Four w = weight(k, j);
    std::array<Four, kStates> states = y(k, j);
    if constexpr (CatchesUp<Rule>) states[0] = old.velocity(x(k, j), states[0].v);
    rule.update(rules::Gradient<Four>{g(k, j), w, Four(inverse), Four(of_w)}, w, states);
    const auto place = static_cast<std::uint32_t>(j);
    if constexpr (kStates > 0) round4(state_at(0, j), states[0].v, key, place, 16);
    if constexpr (kStates > 1) round4(state_at(1, j), states[1].v, other, place, 0);
    if constexpr (kStates > 2) round4(state_at(2, j), states[2].v, other, place, 16);
    round4(weights + begin + j, w.v, key, place, 0);
  });
  if (threadIdx.x % kWarp != 0) return;
  if constexpr (Rule::kCountsUpdates) table.updates[row] = number;
  if (table.steps_seen != nullptr) table.steps_seen[row] = step.steps_seen;
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
               std::int64_t centers, std::int64_t* rows, Stream stream) {
  const std::int64_t all = drawn.count() + others;
  if (all == 0) return;
  list_rows_kernel<<<blocks_for(all, kSampleThreads), kSampleThreads, 0, stream>>>(
      drawn, listed, others, centers, rows);
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

void load_rows(const Table& whole, const Table& part, std::int64_t count, const LeftOut& left_out,
               Stream stream) {
  if (count == 0) return;
  load_rows_kernel<<<blocks_for(count, kRowWarps), kRowThreads, 0, stream>>>(whole, part, count,
                                                                             left_out);
  check_launch("load_rows");
}

void store_rows(const Table& part, const Table& whole, std::int64_t count, const LeftOut& left_out,
                Stream stream) {
  if (count == 0) return;
  store_rows_kernel<<<blocks_for(count, kRowWarps), kRowThreads, 0, stream>>>(part, whole, count,
                                                                              left_out);
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

void update_rows(const Table& table, const SampledRows& sampled, CenterOptimizer::Kind kind,
                 const CenterGradients& gradients, const CounterRandom& random, const float* skip,
                 Stream stream) {
  const unsigned blocks = blocks_for(sampled.size, kRowWarps);
  rules::with_rule(kind, [&](auto rule) {
    with_types(table, [&](auto* weights, auto* state) {
      with_size(table.dim, [&](auto size) {
        update_rows_kernel<size()><<<blocks, kRowThreads, 0, stream>>>(
            rule, table, weights, state, sampled, gradients, random, skip);
      });
    });
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
