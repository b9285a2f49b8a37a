#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "model/batch_norm_kernels.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

constexpr kernels::Rows kRows{50, 32};

std::vector<float> numbers(std::int64_t count, double low, double high, std::uint64_t seed) {
  const CounterRandom random(seed, RandomStream::kBenchmark);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const double uniform =
        static_cast<double>(random.bits(0, static_cast<std::uint64_t>(i))) * 0x1p-64;
    values.push_back(static_cast<float>(low + (high - low) * uniform));
  }
  return values;
}

/// A problem, and its solution by differences of a sum of dy·y.
class BatchNormKernelsPortable : public testing::Test {
 protected:
  const std::vector<float> x = numbers(kRows.count * kRows.channels, -2, 2, 1),
                           dy = numbers(kRows.count * kRows.channels, -1, 1, 2),
                           mean = numbers(kRows.channels, -0.5, 0.5, 3),
                           scale = numbers(kRows.channels, 0.5, 2, 4),
                           bias = numbers(kRows.channels, -0.3, 0.3, 5),
                           slope = numbers(kRows.channels, 0.1, 0.4, 6);
  const kernels::NormPRelu f{mean.data(), scale.data(), bias.data(), slope.data()};

  double z(std::size_t i) const {
    const std::size_t c = i % kRows.channels;
    return (double{x[i]} - double{mean[c]}) * double{scale[c]} + double{bias[c]};
  }
  double gradient(std::size_t i) const {
    return double{dy[i]} * (z(i) > 0 ? 1 : double{slope[i % kRows.channels]});
  }
};

TEST_F(BatchNormKernelsPortable, MomentsAreSumsOverRows) {
  std::vector<double> sum(kRows.channels), square(kRows.channels), want(2 * kRows.channels);
  kernels::add_moments(x.data(), kRows, mean.data(), sum.data(), square.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = double{x[i]} - double{mean[i % kRows.channels]};
    want[i % kRows.channels] += v;
    want[kRows.channels + i % kRows.channels] += v * v;
  }
  for (std::size_t c = 0; c < sum.size(); ++c) {
    EXPECT_NEAR(sum[c], want[c], 1e-6);
    EXPECT_NEAR(square[c], want[kRows.channels + c], 1e-6);
  }
}

TEST_F(BatchNormKernelsPortable, ValuesAndGradientsAreThoseOfTheFormulas) {
  std::vector<float> y(x.size()), dx(x.size());
  std::vector<double> g(kRows.channels), gx(kRows.channels), gs(kRows.channels);
  const std::vector<float> along = numbers(kRows.channels, -0.1, 0.1, 7),
                           constant = numbers(kRows.channels, -0.1, 0.1, 8);
  kernels::norm_prelu(x.data(), kRows, f, y.data());
  kernels::add_gradient_sums(x.data(), dy.data(), kRows, f, g.data(), gx.data(), gs.data());
  kernels::input_gradient(x.data(), dy.data(), kRows, f, along.data(), constant.data(), dx.data());
  std::vector<double> want_g(kRows.channels), want_gx(kRows.channels), want_gs(kRows.channels);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % kRows.channels;
    const double centred = double{x[i]} - double{mean[c]};
    EXPECT_NEAR(double{y[i]}, z(i) > 0 ? z(i) : double{slope[c]} * z(i), 1e-6);
    EXPECT_NEAR(double{dx[i]},
                gradient(i) * double{scale[c]} + centred * double{along[c]} + double{constant[c]},
                1e-6);
    want_g[c] += gradient(i);
    want_gx[c] += gradient(i) * centred;
    want_gs[c] += double{dy[i]} * std::min(z(i), 0.0);
  }
  for (std::size_t c = 0; c < g.size(); ++c) {
    EXPECT_NEAR(g[c], want_g[c], 1e-5);
    EXPECT_NEAR(gx[c], want_gx[c], 1e-5);
    EXPECT_NEAR(gs[c], want_gs[c], 1e-5);
  }
}

}  // namespace
}  // namespace pfc
