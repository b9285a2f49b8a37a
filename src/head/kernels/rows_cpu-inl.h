// The parts that kernels of rows are made of, and a rule's update of a row, for one instruction
// set. A file that Highway compiles for every instruction set includes it once for each.
#if defined(PFC_ROWS_CPU_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef PFC_ROWS_CPU_INL_H
#undef PFC_ROWS_CPU_INL_H
#else
#define PFC_ROWS_CPU_INL_H
#endif

#include <hwy/highway.h>

#include <array>
#include <type_traits>

#include "head/kernels/kernels.h"
#include "head/kernels/row_rules.h"

HWY_BEFORE_NAMESPACE();
namespace pfc::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using formulas::BFloat16;
using Floats = hn::ScalableTag<float>;
using V = hn::Vec<Floats>;

// A row's numbers in memory, of any type: `load` returns float32 vectors, `store` takes them with
// 16 random bits in the lower half of each of `random`'s lanes.

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

/// A row of zeros that stores nothing.
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
/// Calls body(w, v) with the numbers of a row and of its first state, which may not exist.
template <typename Body>
HWY_INLINE auto with_row(const TableRow& row, const Body& body) {
  const Row& state = row.states[0];
  with_numbers(row.w, [&](auto* w) {
    if (state.data == nullptr) return body(w, Nothing());
    with_numbers(state, [&](auto* v) { body(w, v); });
  });
}
/// Numbers of the same type as `like`.
template <typename Number>
HWY_INLINE Number* numbers_as(Number*, Row row) {
  return static_cast<Number*>(row.data);
}
HWY_INLINE Nothing numbers_as(Nothing, Row) {
  return {};
}

/// 32 random bits for each lane, beginning with the j-th component's.
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

/// A vector of floats as a number type for rules.
template <typename D>
struct Lanes {
  hn::Vec<D> v;

  Lanes() = default;
  HWY_ATTR HWY_INLINE Lanes(const hn::Vec<D>& values) : v(values) {}
  HWY_ATTR HWY_INLINE explicit Lanes(float all) : v(hn::Set(D(), all)) {}
};
template <typename D>
HWY_INLINE Lanes<D> operator+(const Lanes<D>& a, const Lanes<D>& b) {
  return hn::Add(a.v, b.v);
}
template <typename D>
HWY_INLINE Lanes<D> operator-(const Lanes<D>& a, const Lanes<D>& b) {
  return hn::Sub(a.v, b.v);
}
template <typename D>
HWY_INLINE Lanes<D> operator*(const Lanes<D>& a, const Lanes<D>& b) {
  return hn::Mul(a.v, b.v);
}
template <typename D>
HWY_INLINE Lanes<D> operator/(const Lanes<D>& a, const Lanes<D>& b) {
  return hn::Div(a.v, b.v);
}
template <typename D>
HWY_INLINE Lanes<D> sqrt(const Lanes<D>& a) {
  return hn::Sqrt(a.v);
}
template <typename D>
HWY_INLINE Lanes<D> mul_add(const Lanes<D>& a, const Lanes<D>& b, const Lanes<D>& c) {
  return hn::MulAdd(a.v, b.v, c.v);
}
template <typename D>
HWY_INLINE Lanes<D> mul_sub(const Lanes<D>& a, const Lanes<D>& b, const Lanes<D>& c) {
  return hn::MulSub(a.v, b.v, c.v);
}

#include "head/kernels/rules/every_rule.h"

/// Updates a row by a rule, which need not be one of those above.
template <typename Rule>
HWY_INLINE void update_row_by(const TableRow& row, const RowUpdate& update,
                              const float* HWY_RESTRICT d_unit, float inverse_norm,
                              std::int64_t dim) {
  constexpr std::size_t kStates = Rule::kStates.size();
  static_assert(kStates <= kMostStates);
  with_row(row, [&](auto* w, auto first) {
    // Copied into local variables, so that the loops keep them in registers.
    const Rule rule(update.optimizer, update.lr, update.number);
    const CatchUp missed = row.missed;
    std::array<decltype(first), kStates> states;
    for (std::size_t k = 0; k < kStates; ++k)
      states[k] = k == 0 ? first : numbers_as(first, row.states[k]);
    const auto gradient = [&](auto d, std::int64_t j) { return hn::LoadU(d, d_unit + j); };
    const auto weight = [&](auto d, std::int64_t j) {
      if constexpr (CatchesUp<Rule>) {
        using T = Lanes<decltype(d)>;
        return caught_up_w<T>(missed, load(d, w + j), load(d, first + j)).v;
      } else {
        return load(d, w + j);
      }
    };
    const float inverse = inverse_norm;
    const float along = dot(dim, gradient, weight) * inverse;
    const float of_w = gradient_of_w(rule.decay(), along, inverse);
    // A component draws 32 bits for its weight and its first state, and 32 more for the other
    // states.
    const RoundingKey key = update.key, other{key.second, key.first};
    for_lanes(dim, [&](auto d, std::int64_t j) {
      using T = Lanes<decltype(d)>;
      T x = weight(d, j);
      std::array<T, kStates> numbers;
      for (std::size_t k = 0; k < kStates; ++k) numbers[k] = load(d, states[k] + j);
      if constexpr (CatchesUp<Rule>)
        numbers[0] = caught_up_v<T>(missed, load(d, w + j), numbers[0]);
      rule.update(Gradient<T>{gradient(d, j), x, T(inverse), T(of_w)}, x, numbers);
      const auto random = rounding_bits(d, key, j), more = rounding_bits(d, other, j);
      if constexpr (kStates > 0) store(d, numbers[0].v, states[0] + j, hn::ShiftRight<16>(random));
      if constexpr (kStates > 1) store(d, numbers[1].v, states[1] + j, more);
      if constexpr (kStates > 2) store(d, numbers[2].v, states[2] + j, hn::ShiftRight<16>(more));
      store(d, x.v, w + j, random);
    });
  });
}

}  // namespace pfc::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
