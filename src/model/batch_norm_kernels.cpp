#include "model/batch_norm_kernels.h"

#include <algorithm>

#include "head/kernels/best_target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/batch_norm_kernels.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each instruction set
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pfc::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, kChannelStep>;
using Vec = hn::Vec<Tag>;

/// Float sums are kept over at most this many values, then added to the double ones. The bytes stay
/// in the first-level cache while the groups of channels go over them one after another.
constexpr std::int64_t kBlockValues = 4096;

/// Calls f(first value, rows, first channel) for each group of Lanes channels of each block of
/// rows.
template <class F>
void for_each_group(Rows rows, F f) {
  const std::int64_t block = std::max<std::int64_t>(1, kBlockValues / rows.channels);
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Tag()));
  for (std::int64_t row = 0; row < rows.count; row += block) {
    const std::int64_t count = std::min(block, rows.count - row);
    for (std::int64_t channel = 0; channel < rows.channels; channel += lanes) {
      f(row * rows.channels + channel, count, channel);
    }
  }
}

void add_to(double* sums, Vec partial) {
  HWY_ALIGN float values[kChannelStep];
  hn::Store(partial, Tag(), values);
  for (std::size_t i = 0; i < hn::Lanes(Tag()); ++i) sums[i] += static_cast<double>(values[i]);
}

/// The constants of a group of channels, in registers.
struct Group {
  Group(const NormPRelu& f, std::int64_t channel)
      : mean(hn::LoadU(Tag(), f.mean + channel)),
        scale(hn::LoadU(Tag(), f.scale + channel)),
        bias(hn::LoadU(Tag(), f.bias + channel)),
        slope(hn::LoadU(Tag(), f.slope + channel)) {}
  Vec mean, scale, bias, slope;
};

void add_moments(const float* HWY_RESTRICT x, Rows rows, const float* origin, double* sum,
                 double* sum_square) {
  const Tag d;
  for_each_group(rows, [&](std::int64_t first, std::int64_t count, std::int64_t channel) {
    const Vec from = hn::LoadU(d, origin + channel);
    Vec total = hn::Zero(d), square = hn::Zero(d);
    const float* p = x + first;
    for (std::int64_t row = 0; row < count; ++row, p += rows.channels) {
      const Vec v = hn::Sub(hn::LoadU(d, p), from);
      total = hn::Add(total, v);
      square = hn::MulAdd(v, v, square);
    }
    add_to(sum + channel, total);
    add_to(sum_square + channel, square);
  });
}

void norm_prelu(const float* HWY_RESTRICT x, Rows rows, const NormPRelu& f, float* HWY_RESTRICT y) {
  const Tag d;
  for_each_group(rows, [&](std::int64_t first, std::int64_t count, std::int64_t channel) {
    const Group g(f, channel);
    for (std::int64_t row = 0, i = first; row < count; ++row, i += rows.channels) {
      const Vec z = hn::MulAdd(hn::Sub(hn::LoadU(d, x + i), g.mean), g.scale, g.bias);
      hn::StoreU(hn::IfThenElse(hn::Gt(z, hn::Zero(d)), z, hn::Mul(z, g.slope)), d, y + i);
    }
  });
}

void add_gradient_sums(const float* HWY_RESTRICT x, const float* HWY_RESTRICT dy, Rows rows,
                       const NormPRelu& f, double* sum_g, double* sum_gx, double* sum_slope) {
  const Tag d;
  for_each_group(rows, [&](std::int64_t first, std::int64_t count, std::int64_t channel) {
    const Group g(f, channel);
    Vec total = hn::Zero(d), along_x = hn::Zero(d), slope = hn::Zero(d);
    for (std::int64_t row = 0, i = first; row < count; ++row, i += rows.channels) {
      const Vec centred = hn::Sub(hn::LoadU(d, x + i), g.mean);
      const Vec z = hn::MulAdd(centred, g.scale, g.bias);
      const Vec out = hn::LoadU(d, dy + i);
      const Vec dz = hn::IfThenElse(hn::Gt(z, hn::Zero(d)), out, hn::Mul(out, g.slope));
      total = hn::Add(total, dz);
      along_x = hn::MulAdd(dz, centred, along_x);
      slope = hn::MulAdd(out, hn::Min(z, hn::Zero(d)), slope);
    }
    add_to(sum_g + channel, total);
    add_to(sum_gx + channel, along_x);
    add_to(sum_slope + channel, slope);
  });
}

void input_gradient(const float* HWY_RESTRICT x, const float* HWY_RESTRICT dy, Rows rows,
                    const NormPRelu& f, const float* along_x, const float* constant,
                    float* HWY_RESTRICT dx) {
  const Tag d;
  for_each_group(rows, [&](std::int64_t first, std::int64_t count, std::int64_t channel) {
    const Group g(f, channel);
    const Vec per_x = hn::LoadU(d, along_x + channel);
    const Vec always = hn::LoadU(d, constant + channel);
    for (std::int64_t row = 0, i = first; row < count; ++row, i += rows.channels) {
      const Vec centred = hn::Sub(hn::LoadU(d, x + i), g.mean);
      const Vec z = hn::MulAdd(centred, g.scale, g.bias);
      const Vec out = hn::LoadU(d, dy + i);
      const Vec dz = hn::IfThenElse(hn::Gt(z, hn::Zero(d)), out, hn::Mul(out, g.slope));
      hn::StoreU(hn::MulAdd(dz, g.scale, hn::MulAdd(centred, per_x, always)), d, dx + i);
    }
  });
}

}  // namespace pfc::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pfc::kernels {

void add_moments(const float* x, Rows rows, const float* origin, double* sum, double* sum_square) {
  PFC_BEST(add_moments)(x, rows, origin, sum, sum_square);
}

void norm_prelu(const float* x, Rows rows, const NormPRelu& f, float* y) {
  PFC_BEST(norm_prelu)(x, rows, f, y);
}

void add_gradient_sums(const float* x, const float* dy, Rows rows, const NormPRelu& f,
                       double* sum_g, double* sum_gx, double* sum_slope) {
  PFC_BEST(add_gradient_sums)(x, dy, rows, f, sum_g, sum_gx, sum_slope);
}

void input_gradient(const float* x, const float* dy, Rows rows, const NormPRelu& f,
                    const float* along_x, const float* constant, float* dx) {
  PFC_BEST(input_gradient)(x, dy, rows, f, along_x, constant, dx);
}

}  // namespace pfc::kernels
#endif
