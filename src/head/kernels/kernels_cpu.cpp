#include "head/kernels/kernels.h"

#include <cmath>
#include <type_traits>
#include <variant>

#include "head/kernels/best_target.h"

// This file is compiled once for each instruction set; the functions at its end choose among them
// at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "head/kernels/kernels_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// Not sorted with them: they need what those define.
#include <hwy/contrib/math/math-inl.h>

#include "head/kernels/rows_cpu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pfc::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// exp(x) for x <= about 0. x = n·ln 2 + r, |r| <= ln 2 / 2; a polynomial gives exp(r), the
/// exponent bits 2^n.
template <typename D, typename Vec>
HWY_INLINE Vec exp_of(D d, Vec x) {
  const hn::RebindToSigned<D> di;
  const Vec lowest = hn::Set(d, -87.3365f);  // below this the result is not a normal number
  // For values below it and NaN, n is 0, because their own value may not fit into an integer.
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
  // A NaN is not below the lowest, and then p is NaN.
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

/// Four words from each of the counters (b, 0), (b + 1, 0), …, one in each 64-bit lane.
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

void read_row(const TableRow& row, std::int64_t dim, float* HWY_RESTRICT values) {
  with_row(row, [&](const auto* w, auto v) {
    for_lanes(dim, [&](auto d, std::int64_t j) {
      using T = Lanes<decltype(d)>;
      const T x = caught_up_w<T>(row.missed, load(d, w + j), load(d, v + j));
      hn::StoreU(x.v, d, values + j);
    });
  });
}

// What becomes of the cosines of other classes: (tag, cosines, column) -> value, slope.

template <typename D>
struct OtherCosines {
  hn::Vec<D> value, slope;
};

struct AsTheyAre {
  static constexpr bool kHasSlope = false;
  template <typename D>
  HWY_INLINE OtherCosines<D> operator()(D, hn::Vec<D> cosine, std::int64_t) const {
    return {cosine, cosine};
  }
};
/// A loss says it in scalars, of which the compiler makes vectors.
template <class L>
struct Bent {
  static constexpr bool kHasSlope = true;
  const L& loss;
  const float* bounds;
  Moving<L> moving;
  template <typename D>
  HWY_INLINE OtherCosines<D> operator()(D d, hn::Vec<D> cosine, std::int64_t column) const {
    constexpr std::size_t kLanes = hn::MaxLanes(D());
    HWY_ALIGN float cosines[kLanes], bound[kLanes], values[kLanes], slopes[kLanes];
    hn::Store(cosine, d, cosines);
    hn::Store(hn::LoadU(d, bounds + column), d, bound);
    for (std::size_t i = 0; i < kLanes; ++i) {
      const OtherCosine other = loss.other(cosines[i], bound[i], moving);
      values[i] = other.value;
      slopes[i] = other.slope;
    }
    return {hn::Load(d, values), hn::Load(d, slopes)};
  }
};
template <class Rest>
struct Filtered {
  static constexpr bool kHasSlope = Rest::kHasSlope;
  float threshold;
  Rest rest;
  template <typename D>
  HWY_INLINE OtherCosines<D> operator()(D d, hn::Vec<D> cosine, std::int64_t column) const {
    const auto above = hn::Gt(cosine, hn::Set(d, threshold));
    return rest(d, hn::IfThenElse(above, hn::Set(d, -HUGE_VALF), cosine), column);
  }
};

/// Calls body with one of them.
template <typename Body>
void with_others(const Others& others, const Body& body) {
  const auto filtered = [&](const auto& rest) {
    if (others.filter < kNoFilter) {
      body(Filtered<std::decay_t<decltype(rest)>>{others.filter, rest});
    } else {
      body(rest);
    }
  };
  std::visit(
      [&]<class L>(const L& loss) {
        if constexpr (kLossBends<L>) {
          filtered(Bent<L>{loss, others.bounds, moving_numbers<L>(others.moving)});
        } else {
          filtered(AsTheyAre());
        }
      },
      others.loss);
}

void column_max(const float* HWY_RESTRICT tile, std::int64_t rows, std::int64_t columns,
                const Others& others, float* HWY_RESTRICT maximum) {
  with_others(others, [&](const auto& other) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const float* const row = tile + i * columns;
      for_lanes(columns, [&](auto d, std::int64_t j) {
        const auto cosine = other(d, hn::LoadU(d, row + j), j).value;
        hn::StoreU(hn::Max(cosine, hn::LoadU(d, maximum + j)), d, maximum + j);
      });
    }
  });
}

void keep_nearest(float* HWY_RESTRICT tile, std::int64_t rows, std::int64_t columns,
                  std::int64_t group) {
  for (std::int64_t first = 0; first < rows; first += group) {
    float* const top = tile + first * columns;
    for_lanes(columns, [&](auto d, std::int64_t j) {
      auto nearest = hn::LoadU(d, top + j);
      for (std::int64_t i = 1; i < group; ++i)
        nearest = hn::Max(nearest, hn::LoadU(d, top + i * columns + j));
      const auto none = hn::Set(d, -HUGE_VALF);
      for (std::int64_t i = 0; i < group; ++i) {
        const auto cosine = hn::LoadU(d, top + i * columns + j);
        const auto less = hn::Lt(cosine, nearest);
        hn::StoreU(hn::IfThenElse(less, none, cosine), d, top + i * columns + j);
        // A second one of the same cosine is less than what is left now.
        nearest = hn::IfThenElse(less, nearest, hn::Set(d, HUGE_VALF));
      }
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
                 const float* HWY_RESTRICT shift, const Others& others, double* HWY_RESTRICT sum) {
  // Four rows at a time: their sum stays in a register, and float32 loses no more in it than in any
  // other result. With more rows, small terms beside a large one would be lost.
  constexpr std::int64_t kRows = 4;
  with_others(others, [&](const auto& other) {
    const auto add = [&](std::int64_t first, auto count) {
      float* const tops = tile + first * columns;
      for_lanes(columns, [&](auto d, std::int64_t j) {
        const auto of_row = [&](std::int64_t i) {
          float* const at = tops + i * columns + j;
          const auto cosine = other(d, hn::LoadU(d, at), j);
          const auto logit = hn::Mul(hn::Set(d, scale), cosine.value);
          const auto p = exp_of(d, hn::Sub(logit, hn::LoadU(d, shift + j)));
          if constexpr (std::decay_t<decltype(other)>::kHasSlope) {
            hn::StoreU(hn::Mul(p, cosine.slope), d, at);
          } else {
            hn::StoreU(p, d, at);
          }
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
  });
}

void update_row(const TableRow& row, const RowUpdate& update, const float* d_unit,
                float inverse_norm, std::int64_t dim) {
  with_rule(update.optimizer.kind, [&]<class Rule>(std::type_identity<Rule>) {
    update_row_by<Rule>(row, update, d_unit, inverse_norm, dim);
  });
}

void catch_up_row(const TableRow& row, std::int64_t dim, const RoundingKey& key) {
  with_row(row, [&](auto* w, auto v) {
    for_lanes(dim, [&](auto d, std::int64_t j) {
      using T = Lanes<decltype(d)>;
      const T x = load(d, w + j), y = load(d, v + j);
      const auto random = rounding_bits(d, key, j);
      store(d, caught_up_v(row.missed, x, y).v, v + j, hn::ShiftRight<16>(random));
      store(d, caught_up_w(row.missed, x, y).v, w + j, random);
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
void read_row(const TableRow& row, std::int64_t dim, float* values) {
  PFC_BEST(read_row)(row, dim, values);
}
void column_max(const float* tile, std::int64_t rows, std::int64_t columns, const Others& others,
                float* maximum) {
  PFC_BEST(column_max)(tile, rows, columns, others, maximum);
}
void exp_columns(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* shift, const Others& others, double* sum) {
  PFC_BEST(exp_columns)(tile, rows, columns, scale, shift, others, sum);
}
void keep_nearest(float* tile, std::int64_t rows, std::int64_t columns, std::int64_t group) {
  PFC_BEST(keep_nearest)(tile, rows, columns, group);
}
void update_row(const TableRow& row, const RowUpdate& update, const float* d_unit,
                float inverse_norm, std::int64_t dim) {
  PFC_BEST(update_row)(row, update, d_unit, inverse_norm, dim);
}
void catch_up_row(const TableRow& row, std::int64_t dim, const RoundingKey& key) {
  PFC_BEST(catch_up_row)(row, dim, key);
}
const char* instruction_set() {
  return PFC_BEST(instruction_set)();
}

}  // namespace pfc::kernels
#endif
