#include "head/kernels/kernels.h"

#include <cmath>

#include "head/kernels/best_target.h"

// This file is compiled once for each instruction set; the calls at its end choose among them at
// run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "head/kernels/kernels_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// Not sorted with them: it needs what they define.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace pfc::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using formulas::BFloat16;
using Floats = hn::ScalableTag<float>;
using V = hn::Vec<Floats>;

// A row's numbers in memory, whatever their type: `load` gives float32 vectors, `store` takes them,
// with 16 random bits in the lower half of each of `random`'s lanes.

template <typename D>
using Words = hn::Vec<hn::RebindToUnsigned<D>>;

template <typename D>
HWY_INLINE hn::Vec<D> load(D d, const float* at) {
  return hn::LoadU(d, at);
}

template <typename D>
HWY_INLINE hn::Vec<D> load(D d, const BFloat16* at) {
  const hn::Rebind<std::uint16_t, D> half;
  const hn::RebindToUnsigned<D> word;
  const auto bits = hn::LoadU(half, reinterpret_cast<const std::uint16_t*>(at));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(word, bits)));
}

template <typename D>
HWY_INLINE void store_upper_half(D, Words<D> bits, BFloat16* at) {
  const hn::Rebind<std::uint16_t, D> half;
  const hn::RebindToSigned<D> number;  // not negative once shifted, so the demotion is exact
  const auto upper = hn::BitCast(number, hn::ShiftRight<16>(bits));
  hn::StoreU(hn::DemoteTo(half, upper), half, reinterpret_cast<std::uint16_t*>(at));
}

template <typename D>
HWY_INLINE void store(D d, hn::Vec<D> x, float* at, Words<D>) {
  hn::StoreU(x, d, at);
}

template <typename D>
HWY_INLINE void store(D d, hn::Vec<D> x, BFloat16* at, Words<D> random) {
  const hn::RebindToUnsigned<D> word;
  const auto low = hn::And(random, hn::Set(word, 0xffffu));
  store_upper_half(d, hn::Add(hn::BitCast(word, x), low), at);
}

template <typename D>
HWY_INLINE void store_nearest(D d, hn::Vec<D> x, float* at) {
  hn::StoreU(x, d, at);
}

template <typename D>
HWY_INLINE void store_nearest(D d, hn::Vec<D> x, BFloat16* at) {
  const hn::RebindToUnsigned<D> word;
  const auto bits = hn::BitCast(word, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(word, 1u));
  const auto nearest = hn::Add(hn::Add(bits, hn::Set(word, 0x7fffu)), odd);
  const auto quiet = hn::Or(bits, hn::Set(word, 0x400000u));  // a NaN that survives the cut
  const auto is_nan = hn::BitCast(word, hn::VecFromMask(d, hn::IsNaN(x)));
  store_upper_half(d, hn::Or(hn::And(is_nan, quiet), hn::AndNot(is_nan, nearest)), at);
}

/// A row of zeros that keeps nothing.
struct Nothing {
  Nothing operator+(std::int64_t) const { return {}; }
};

template <typename D>
HWY_INLINE hn::Vec<D> load(D d, Nothing) {
  return hn::Zero(d);
}

template <typename D>
HWY_INLINE void store(D, hn::Vec<D>, Nothing, Words<D>) {}

/// Calls body(its numbers) with the type that they have.
template <typename Body>
HWY_INLINE auto with_numbers(Row row, const Body& body) {
  if (row.type == NumberType::kFloat32) return body(static_cast<float*>(row.data));
  return body(static_cast<BFloat16*>(row.data));
}
/// The same where there may be none.
template <typename Body>
HWY_INLINE auto with_state(Row row, const Body& body) {
  if (row.data == nullptr) return body(Nothing());
  return with_numbers(row, body);
}

/// 32 random bits for each lane, the j-th component's first.
template <typename D>
HWY_INLINE Words<D> rounding_bits(D, const RoundingKey& key, std::int64_t j) {
  const hn::RebindToUnsigned<D> word;
  auto x = hn::Mul(hn::Iota(word, static_cast<std::uint32_t>(j)), hn::Set(word, 0x9E3779B9u));
  x = hn::Xor(x, hn::Set(word, key.first));
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<16>(x)), hn::Set(word, 0x7feb352du));
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<15>(x)), hn::Set(word, 0x846ca68bu));
  return hn::Xor(hn::Xor(x, hn::ShiftRight<16>(x)), hn::Set(word, key.second));
}

/// Calls body(d, offset) over [0, n): whole vectors first, then single lanes.
template <typename Body>
HWY_INLINE void for_lanes(std::int64_t n, const Body& body) {
  const Floats whole;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(whole));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(whole, i);
  const hn::CappedTag<float, 1> single;
  for (; i < n; ++i) body(single, i);
}

/// The sum over j of first(j) · second(j), each a function of (tag, offset) that gives a vector.
template <typename First, typename Second>
HWY_INLINE float dot(std::int64_t n, const First& first, const Second& second) {
  const Floats d;
  V products = hn::Zero(d);
  float rest = 0;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) products = hn::MulAdd(first(d, j), second(d, j), products);
  const hn::CappedTag<float, 1> single;
  for (; j < n; ++j) rest += hn::GetLane(hn::Mul(first(single, j), second(single, j)));
  return hn::GetLane(hn::SumOfLanes(d, products)) + rest;
}

/// exp(x) for x <= about 0. x = n·ln 2 + r, |r| <= ln 2 / 2; a polynomial gives exp(r), the
/// exponent bits 2^n.
template <typename D, typename Vec>
HWY_INLINE Vec exp_of(D d, Vec x) {
  const hn::RebindToSigned<D> di;
  const Vec lowest = hn::Set(d, -87.3365f);  // below it the result is no normal number
  // Of what is below or no number, n is 0: its own value might be none that an integer holds.
  const Vec within = hn::IfThenElseZero(hn::Ge(x, lowest), x);
  const Vec n = hn::Round(hn::Mul(within, hn::Set(d, 1.44269504f)));
  Vec r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f),
                        x);  // ln 2 in two parts: the first product is exact
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  Vec p = hn::Set(d, 0.0013814539f);  // (exp(r) − 1 − r) / r², to 3e-9 of exp(r)
  p = hn::MulAdd(p, r, hn::Set(d, 0.0083687454f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.041668388f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.16666521f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  const Vec power = hn::BitCast(d, exponent);
  // A NaN is not below the lowest, and p is NaN then.
  return hn::IfThenZeroElse(hn::Lt(x, lowest), hn::Mul(p, power));
}

#if HWY_TARGET == HWY_SCALAR

void fill_normal(Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                 std::uint64_t number) {
  const Floats d;
  with_numbers(w, [&](auto* to) {
    for (std::int64_t j = 0; j < dim; j += 4) {
      const auto words = random.words(number, static_cast<std::uint64_t>(j));
      const auto first = formulas::normal_pair<float>(words[0], words[1]);
      const auto second = formulas::normal_pair<float>(words[2], words[3]);
      const float four[] = {first[0], first[1], second[0], second[1]};
      for (std::int64_t i = 0; i < HWY_MIN(4, dim - j); ++i)
        store_nearest(d, hn::Set(d, deviation * four[i]), to + j + i);
    }
  });
}

#else

/// Four words from each of the counters (b, 0), (b + 1, 0), …, one a lane of 64 bits.
struct Words64 {
  using D = hn::ScalableTag<std::uint64_t>;
  hn::Vec<D> x0, x1, x2, x3;
};

HWY_INLINE Words64 philox(const Philox& start, hn::Vec<Words64::D> b) {
  const Words64::D d;
  const hn::Repartition<std::uint32_t, Words64::D> word;
  const auto low = hn::Set(d, 0xffffffffu);
  const auto multiplier0 = hn::Set(word, Philox::kMultiplier0);
  const auto multiplier1 = hn::Set(word, Philox::kMultiplier1);
  Words64 x{b, hn::Set(d, start.counter[1]), hn::Set(d, start.counter[2]),
            hn::Set(d, start.counter[3])};
  std::uint32_t key0 = start.key[0], key1 = start.key[1];
  for (int round = 0; round < Philox::kRounds; ++round) {
    const auto p0 = hn::MulEven(hn::BitCast(word, x.x0), multiplier0);
    const auto p1 = hn::MulEven(hn::BitCast(word, x.x2), multiplier1);
    const auto y0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), x.x1), hn::Set(d, key0));
    const auto y2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), x.x3), hn::Set(d, key1));
    x = {y0, hn::And(p1, low), y2, hn::And(p0, low)};
    key0 += Philox::kWeyl0;
    key1 += Philox::kWeyl1;
  }
  return x;
}

void fill_normal(Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                 std::uint64_t number) {
  const Words64::D d64;
  const hn::Repartition<std::uint32_t, Words64::D> word;
  const hn::RebindToSigned<decltype(word)> integer;
  const Floats d;
  const Philox start = random.start(number, 0);
  const auto counters = static_cast<std::int64_t>(hn::Lanes(d64));
  const std::int64_t block = 4 * counters;  // components from one draw
  HWY_ALIGN float normal[2 * HWY_MAX_BYTES / sizeof(float)];
  for (std::int64_t j = 0; j < dim; j += block) {
    const auto first =
        hn::Add(hn::ShiftLeft<2>(hn::Iota(d64, 0)), hn::Set(d64, static_cast<std::uint64_t>(j)));
    const Words64 x = philox(start, first);
    // Lane 2k has counter k's first pair, lane 2k + 1 its second.
    const auto uniform = [&](auto pair0, auto pair1) {
      const auto both = hn::BitCast(word, hn::Or(pair0, hn::ShiftLeft<32>(pair1)));
      return hn::ConvertTo(d, hn::BitCast(integer, hn::ShiftRight<8>(both)));
    };
    const auto u = hn::Mul(hn::Add(uniform(x.x0, x.x2), hn::Set(d, 0.5f)), hn::Set(d, 0x1p-24f));
    const auto angle = hn::Mul(uniform(x.x1, x.x3), hn::Set(d, 0x1p-24f * 6.28318531f));
    const auto radius =
        hn::Mul(hn::Sqrt(hn::Mul(hn::Log(d, u), hn::Set(d, -2.0f))), hn::Set(d, deviation));
    hn::StoreInterleaved2(hn::Mul(radius, hn::Cos(d, angle)), hn::Mul(radius, hn::Sin(d, angle)), d,
                          normal);
    with_numbers(w, [&](auto* to) {
      for_lanes(HWY_MIN(block, dim - j), [&](auto dd, std::int64_t i) {
        store_nearest(dd, hn::LoadU(dd, normal + i), to + j + i);
      });
    });
  }
}

#endif

/// 1 / ‖w‖ from the sum of squares, written so that a NaN gives a NaN.
HWY_INLINE float inverse_norm_of(float squares) {
  const float norm = std::sqrt(squares);
  constexpr auto kLeast = static_cast<float>(formulas::kLeastNorm);
  return 1 / (norm < kLeast ? kLeast : norm);
}

float normalize_row(Row w, std::int64_t dim, float* unit) {
  return with_numbers(w, [&](const auto* from) {
    const auto x = [&](auto d, std::int64_t j) { return load(d, from + j); };
    const float inverse = inverse_norm_of(dot(dim, x, x));
    for_lanes(dim, [&](auto d, std::int64_t j) {
      hn::StoreU(hn::Mul(x(d, j), hn::Set(d, inverse)), d, unit + j);
    });
    return inverse;
  });
}

/// The j-th vector of w after the steps it missed.
template <typename D, typename W, typename State>
HWY_INLINE hn::Vec<D> caught_up_w(D d, const W* w, State v, const CatchUp& missed, std::int64_t j) {
  const auto weight = load(d, w + j);
  const auto gained =
      hn::MulAdd(weight, hn::Set(d, missed.w_w), hn::Mul(load(d, v + j), hn::Set(d, missed.w_v)));
  return hn::Add(weight, gained);
}

/// The j-th vector of v after the steps it missed.
template <typename D, typename W, typename State>
HWY_INLINE hn::Vec<D> caught_up_v(D d, const W* w, State v, const CatchUp& missed, std::int64_t j) {
  return hn::MulAdd(load(d, w + j), hn::Set(d, missed.v_w),
                    hn::Mul(load(d, v + j), hn::Set(d, missed.v_v)));
}

void read_row(Row row, Row state, const CatchUp& missed, std::int64_t dim,
              float* HWY_RESTRICT values) {
  with_numbers(row, [&](const auto* w) {
    with_state(state, [&](auto v) {
      for_lanes(dim, [&](auto d, std::int64_t j) {
        hn::StoreU(caught_up_w(d, w, v, missed, j), d, values + j);
      });
    });
  });
}

void mask_above(float* HWY_RESTRICT tile, std::int64_t rows, std::int64_t columns,
                float threshold) {
  for_lanes(rows * columns, [&](auto d, std::int64_t i) {
    const auto cosine = hn::LoadU(d, tile + i);
    const auto masked = hn::Set(d, -HUGE_VALF);
    hn::StoreU(hn::IfThenElse(hn::Gt(cosine, hn::Set(d, threshold)), masked, cosine), d, tile + i);
  });
}

void column_max(const float* HWY_RESTRICT tile, std::int64_t rows, std::int64_t columns,
                float* HWY_RESTRICT maximum) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const row = tile + i * columns;
    for_lanes(columns, [&](auto d, std::int64_t j) {
      hn::StoreU(hn::Max(hn::LoadU(d, row + j), hn::LoadU(d, maximum + j)), d, maximum + j);
    });
  }
}

/// sum [lanes of d] += x, in float64.
template <typename D>
HWY_INLINE void add_wide(D d, hn::Vec<D> x, double* sum) {
  const auto add = [sum](auto half, auto values, std::size_t offset) {
    const hn::Rebind<double, decltype(half)> wide;
    double* const to = sum + offset;
    hn::StoreU(hn::Add(hn::LoadU(wide, to), hn::PromoteTo(wide, values)), wide, to);
  };
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(D()) > 1) {  // as float64 they fill two vectors
    const hn::Half<D> half;
    add(half, hn::LowerHalf(half, x), 0);
    add(half, hn::UpperHalf(half, x), hn::Lanes(half));
  } else
#endif
    add(d, x, 0);
}

void exp_columns(float* HWY_RESTRICT tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* HWY_RESTRICT shift, double* HWY_RESTRICT sum) {
  // Four rows at a time: their sum lies in a register, and float32 loses no more in it than in any
  // other result. Of more, small terms beside a large one would be lost.
  constexpr std::int64_t kRows = 4;
  const auto add = [&](std::int64_t first, auto count) {
    float* const tops = tile + first * columns;
    for_lanes(columns, [&](auto d, std::int64_t j) {
      const auto of_row = [&](std::int64_t i) {
        float* const at = tops + i * columns + j;
        const auto logit = hn::Mul(hn::Set(d, scale), hn::LoadU(d, at));
        const auto p = exp_of(d, hn::Sub(logit, hn::LoadU(d, shift + j)));
        hn::StoreU(p, d, at);
        return p;
      };
      auto total = of_row(0);
      for (std::int64_t i = 1; i < count; ++i) total = hn::Add(total, of_row(i));
      add_wide(d, total, sum + j);
    });
  };
  std::int64_t i = 0;
  for (; i + kRows <= rows; i += kRows) add(i, std::integral_constant<std::int64_t, kRows>());
  for (; i < rows; ++i) add(i, std::integral_constant<std::int64_t, 1>());
}

void update_row(Row row, Row state, const CatchUp& missed, const float* HWY_RESTRICT d_unit,
                float inverse_norm, std::int64_t dim, const SgdStep& step, const RoundingKey& key) {
  with_numbers(row, [&](auto* w) {
    with_state(state, [&](auto v) {
      const auto gradient = [&](auto d, std::int64_t j) { return hn::LoadU(d, d_unit + j); };
      const auto x = [&](auto d, std::int64_t j) { return caught_up_w(d, w, v, missed, j); };
      const float along = dot(dim, gradient, x) * inverse_norm;
      // dw + λw = d_unit·inv + w·(λ − along·inv²)
      const float of_w = step.weight_decay - along * inverse_norm * inverse_norm;
      for_lanes(dim, [&](auto d, std::int64_t j) {
        const auto weight = x(d, j);
        auto velocity = hn::Mul(caught_up_v(d, w, v, missed, j), hn::Set(d, step.momentum));
        velocity = hn::MulAdd(gradient(d, j), hn::Set(d, inverse_norm), velocity);
        velocity = hn::MulAdd(weight, hn::Set(d, of_w), velocity);
        const auto random = rounding_bits(d, key, j);
        store(d, velocity, v + j, hn::ShiftRight<16>(random));
        store(d, hn::NegMulAdd(velocity, hn::Set(d, step.lr), weight), w + j, random);
      });
    });
  });
}

void update_row_adamw(Row row, Row mean_row, Row square_row, const float* HWY_RESTRICT d_unit,
                      float inverse_norm, std::int64_t dim, const AdamWStep& step,
                      const RoundingKey& key) {
  constexpr auto kRest1 = static_cast<float>(AdamWStep::kRest1);
  constexpr auto kRest2 = static_cast<float>(AdamWStep::kRest2);
  const RoundingKey other{key.second, key.first};
  with_numbers(row, [&](auto* w) {
    with_numbers(mean_row, [&](auto* m) {
      auto* const v = static_cast<decltype(m)>(square_row.data);
      const auto from_unit = [&](auto d, std::int64_t j) { return hn::LoadU(d, d_unit + j); };
      const auto x = [&](auto d, std::int64_t j) { return load(d, w + j); };
      const float along = dot(dim, from_unit, x) * inverse_norm;
      for_lanes(dim, [&](auto d, std::int64_t j) {
        const auto weight = x(d, j);
        // dw = d_unit·inv − w·along·inv²
        const auto gradient = hn::NegMulAdd(weight, hn::Set(d, along * inverse_norm * inverse_norm),
                                            hn::Mul(from_unit(d, j), hn::Set(d, inverse_norm)));
        const auto first = load(d, m + j), second = load(d, v + j);
        const auto mean = hn::MulAdd(hn::Sub(gradient, first), hn::Set(d, kRest1), first);
        const auto square =
            hn::MulAdd(hn::MulSub(gradient, gradient, second), hn::Set(d, kRest2), second);
        const auto root = hn::MulAdd(hn::Sqrt(square), hn::Set(d, step.root_correction),
                                     hn::Set(d, static_cast<float>(AdamWStep::kEpsilon)));
        const auto change = hn::MulAdd(weight, hn::Set(d, step.decay),
                                       hn::Div(hn::Mul(mean, hn::Set(d, step.rate)), root));
        const auto random = rounding_bits(d, key, j);
        store(d, mean, m + j, hn::ShiftRight<16>(random));
        store(d, square, v + j, rounding_bits(d, other, j));
        store(d, hn::Sub(weight, change), w + j, random);
      });
    });
  });
}

void catch_up_row(Row row, Row state, const CatchUp& missed, std::int64_t dim,
                  const RoundingKey& key) {
  with_numbers(row, [&](auto* w) {
    with_state(state, [&](auto v) {
      for_lanes(dim, [&](auto d, std::int64_t j) {
        const auto weight = caught_up_w(d, w, v, missed, j);
        const auto random = rounding_bits(d, key, j);
        store(d, caught_up_v(d, w, v, missed, j), v + j, hn::ShiftRight<16>(random));
        store(d, weight, w + j, random);
      });
    });
  });
}

const char* instruction_set() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace pfc::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pfc::kernels {

void fill_normal(Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                 std::uint64_t number) {
  PFC_BEST(fill_normal)(w, dim, deviation, random, number);
}
float normalize_row(Row w, std::int64_t dim, float* unit) {
  return PFC_BEST(normalize_row)(w, dim, unit);
}
void read_row(Row w, Row v, const CatchUp& missed, std::int64_t dim, float* values) {
  PFC_BEST(read_row)(w, v, missed, dim, values);
}
void mask_above(float* tile, std::int64_t rows, std::int64_t columns, float threshold) {
  PFC_BEST(mask_above)(tile, rows, columns, threshold);
}
void column_max(const float* tile, std::int64_t rows, std::int64_t columns, float* maximum) {
  PFC_BEST(column_max)(tile, rows, columns, maximum);
}
void exp_columns(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* shift, double* sum) {
  PFC_BEST(exp_columns)(tile, rows, columns, scale, shift, sum);
}
void update_row(Row w, Row v, const CatchUp& missed, const float* d_unit, float inverse_norm,
                std::int64_t dim, const SgdStep& step, const RoundingKey& key) {
  PFC_BEST(update_row)(w, v, missed, d_unit, inverse_norm, dim, step, key);
}
void update_row_adamw(Row w, Row m, Row v, const float* d_unit, float inverse_norm,
                      std::int64_t dim, const AdamWStep& step, const RoundingKey& key) {
  PFC_BEST(update_row_adamw)(w, m, v, d_unit, inverse_norm, dim, step, key);
}
void catch_up_row(Row w, Row v, const CatchUp& missed, std::int64_t dim, const RoundingKey& key) {
  PFC_BEST(catch_up_row)(w, v, missed, dim, key);
}
const char* instruction_set() {
  return PFC_BEST(instruction_set)();
}

}  // namespace pfc::kernels
#endif
