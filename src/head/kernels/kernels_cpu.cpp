#include "head/kernels/kernels.h"

#include <cmath>

// This file is compiled once for each instruction set; the calls at its end choose among them at
// run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "head/kernels/kernels_cpu.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pfc::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using V = hn::Vec<Floats>;

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

/// exp(x) for x <= about 0. x = n·ln 2 + r, |r| <= ln 2 / 2; a polynomial gives exp(r), the
/// exponent bits 2^n.
template <typename D, typename Vec>
HWY_INLINE Vec exp_of(D d, Vec x) {
  const hn::RebindToSigned<D> di;
  const Vec lowest = hn::Set(d, -87.3365f);  // below it the result is no normal number
  const Vec n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
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

float normalize_row(const float* HWY_RESTRICT w, std::int64_t dim, float* HWY_RESTRICT unit) {
  const Floats d;
  V squares = hn::Zero(d);
  float rest = 0;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t j = 0;
  for (; j + lanes <= dim; j += lanes) {
    const V x = hn::LoadU(d, w + j);
    squares = hn::MulAdd(x, x, squares);
  }
  for (; j < dim; ++j) rest += w[j] * w[j];
  const float norm = std::sqrt(hn::GetLane(hn::SumOfLanes(d, squares)) + rest);
  // Written so that a NaN norm gives a NaN row.
  const float inverse = 1 / (norm < static_cast<float>(formulas::kLeastNorm)
                                 ? static_cast<float>(formulas::kLeastNorm)
                                 : norm);
  for_lanes(dim, [&](auto dd, std::int64_t i) {
    hn::StoreU(hn::Mul(hn::LoadU(dd, w + i), hn::Set(dd, inverse)), dd, unit + i);
  });
  return inverse;
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
  for_lanes(columns, [&](auto d, std::int64_t j) {
    auto most = hn::LoadU(d, maximum + j);
    for (std::int64_t i = 0; i < rows; ++i)
      most = hn::Max(hn::LoadU(d, tile + i * columns + j), most);
    hn::StoreU(most, d, maximum + j);
  });
}

void exp_columns(float* HWY_RESTRICT tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* HWY_RESTRICT shift, float* HWY_RESTRICT sum) {
  for_lanes(columns, [&](auto d, std::int64_t j) {
    const auto s = hn::Set(d, scale);
    const auto m = hn::LoadU(d, shift + j);
    auto total = hn::Zero(d);
    for (std::int64_t i = 0; i < rows; ++i) {
      float* const at = tile + i * columns + j;
      const auto p = exp_of(d, hn::MulSub(s, hn::LoadU(d, at), m));
      hn::StoreU(p, d, at);
      total = hn::Add(total, p);
    }
    hn::StoreU(hn::Add(hn::LoadU(d, sum + j), total), d, sum + j);
  });
}

float dot(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, std::int64_t n) {
  const Floats d;
  V products = hn::Zero(d);
  float rest = 0;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes)
    products = hn::MulAdd(hn::LoadU(d, a + j), hn::LoadU(d, b + j), products);
  for (; j < n; ++j) rest += a[j] * b[j];
  return hn::GetLane(hn::SumOfLanes(d, products)) + rest;
}

void update_row(float* HWY_RESTRICT w, float* HWY_RESTRICT v, const float* HWY_RESTRICT d_unit,
                float inverse_norm, std::int64_t dim, const SgdStep& step) {
  const float along = dot(d_unit, w, dim) * inverse_norm;
  // dw + λw = d_unit·inv + w·(λ − along·inv²)
  const float of_w = step.weight_decay - along * inverse_norm * inverse_norm;
  for_lanes(dim, [&](auto dd, std::int64_t i) {
    const auto x = hn::LoadU(dd, w + i);
    auto velocity = hn::Mul(hn::LoadU(dd, v + i), hn::Set(dd, step.momentum));
    velocity = hn::MulAdd(hn::LoadU(dd, d_unit + i), hn::Set(dd, inverse_norm), velocity);
    velocity = hn::MulAdd(x, hn::Set(dd, of_w), velocity);
    hn::StoreU(velocity, dd, v + i);
    hn::StoreU(hn::NegMulAdd(velocity, hn::Set(dd, step.lr), x), dd, w + i);
  });
}

void update_row_adamw(float* HWY_RESTRICT w, float* HWY_RESTRICT m, float* HWY_RESTRICT v,
                      const float* HWY_RESTRICT d_unit, float inverse_norm, std::int64_t dim,
                      const AdamWStep& step) {
  constexpr auto kBeta1 = static_cast<float>(AdamWStep::kBeta1);
  constexpr auto kBeta2 = static_cast<float>(AdamWStep::kBeta2);
  const float along = dot(d_unit, w, dim) * inverse_norm;
  for_lanes(dim, [&](auto d, std::int64_t i) {
    const auto x = hn::LoadU(d, w + i);
    // dw = d_unit·inv − w·along·inv²
    const auto gradient =
        hn::NegMulAdd(x, hn::Set(d, along * inverse_norm * inverse_norm),
                      hn::Mul(hn::LoadU(d, d_unit + i), hn::Set(d, inverse_norm)));
    const auto mean = hn::MulAdd(hn::LoadU(d, m + i), hn::Set(d, kBeta1),
                                 hn::Mul(gradient, hn::Set(d, 1 - kBeta1)));
    const auto square = hn::MulAdd(hn::LoadU(d, v + i), hn::Set(d, kBeta2),
                                   hn::Mul(hn::Mul(gradient, gradient), hn::Set(d, 1 - kBeta2)));
    hn::StoreU(mean, d, m + i);
    hn::StoreU(square, d, v + i);
    const auto root = hn::MulAdd(hn::Sqrt(square), hn::Set(d, step.root_correction),
                                 hn::Set(d, static_cast<float>(AdamWStep::kEpsilon)));
    const auto change = hn::Div(hn::Mul(mean, hn::Set(d, step.rate)), root);
    hn::StoreU(hn::MulSub(x, hn::Set(d, step.keep), change), d, w + i);
  });
}

const char* instruction_set() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace pfc::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pfc::kernels {

HWY_EXPORT(normalize_row);
HWY_EXPORT(mask_above);
HWY_EXPORT(column_max);
HWY_EXPORT(exp_columns);
HWY_EXPORT(update_row);
HWY_EXPORT(update_row_adamw);
HWY_EXPORT(instruction_set);

float normalize_row(const float* w, std::int64_t dim, float* unit) {
  return HWY_DYNAMIC_DISPATCH(normalize_row)(w, dim, unit);
}
void mask_above(float* tile, std::int64_t rows, std::int64_t columns, float threshold) {
  HWY_DYNAMIC_DISPATCH(mask_above)(tile, rows, columns, threshold);
}
void column_max(const float* tile, std::int64_t rows, std::int64_t columns, float* maximum) {
  HWY_DYNAMIC_DISPATCH(column_max)(tile, rows, columns, maximum);
}
void exp_columns(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* shift, float* sum) {
  HWY_DYNAMIC_DISPATCH(exp_columns)(tile, rows, columns, scale, shift, sum);
}
void update_row(float* w, float* v, const float* d_unit, float inverse_norm, std::int64_t dim,
                const SgdStep& step) {
  HWY_DYNAMIC_DISPATCH(update_row)(w, v, d_unit, inverse_norm, dim, step);
}
void update_row_adamw(float* w, float* m, float* v, const float* d_unit, float inverse_norm,
                      std::int64_t dim, const AdamWStep& step) {
  HWY_DYNAMIC_DISPATCH(update_row_adamw)(w, m, v, d_unit, inverse_norm, dim, step);
}
const char* instruction_set() {
  return HWY_DYNAMIC_DISPATCH(instruction_set)();
}

}  // namespace pfc::kernels
#endif
