#include "head/kernels/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "pfc/base/random.h"

namespace pfc {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> numbers(std::size_t count, double low, double high, std::uint64_t seed) {
  const CounterRandom random(seed, Stream::kCentreInit);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(
        static_cast<float>(low + (high - low) * static_cast<double>(random.bits(0, i)) * 0x1p-64));
  }
  return values;
}

kernels::Row row(std::vector<float>& values) {
  return {values.data(), NumberType::kFloat32};
}

TEST(Kernels, SayWhichInstructionsTheyRunOn) {
  RecordProperty("instruction_set", kernels::instruction_set());
}

TEST(Kernels, NormalizeRowEqualsTheFormula) {
  for (const std::int64_t dim : {1, 3, 16, 31, 512, 513}) {
    auto w = numbers(static_cast<std::size_t>(dim), -1, 1, 1);
    std::vector<float> unit(w.size());
    std::vector<double> want(w.size());
    const double inverse = kernels::formulas::normalize_row(w.data(), dim, want.data());
    EXPECT_NEAR(kernels::normalize_row(row(w), dim, unit.data()), inverse, 1e-6 * inverse);
    for (std::size_t j = 0; j < w.size(); ++j) EXPECT_NEAR(unit[j], want[j], 1e-6);
  }
}

TEST(Kernels, NormalizeRowOfZerosIsZeroAndOfNanIsNan) {
  std::vector<float> zeros(20), unit(20);
  EXPECT_EQ(kernels::normalize_row(row(zeros), 20, unit.data()), 1e12f);
  EXPECT_EQ(unit, zeros);
  zeros[7] = std::nanf("");
  EXPECT_TRUE(std::isnan(kernels::normalize_row(row(zeros), 20, unit.data())));
  EXPECT_TRUE(std::isnan(unit[0]));
}

TEST(Kernels, ExponentialIsWithinItsStatedError) {
  // One column a value, scale 1, shift 0: the argument is exact, so what is seen is the
  // exponential's own error.
  auto x = numbers(100'000, -87.3, 0, 2);
  x.insert(x.end(), {0.0f, -1e-9f, -87.3365f, 1e-6f});
  std::vector<float> result = x, shift(x.size()), sum(x.size());
  kernels::exp_columns(result.data(), 1, std::ssize(x), 1, shift.data(), sum.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double want = std::exp(static_cast<double>(x[i]));
    EXPECT_NEAR(result[i], want, 1.2e-7 * want) << x[i];
    EXPECT_EQ(result[i], sum[i]);
  }
}

TEST(Kernels, ExponentialEndsInZeroAndKeepsNan) {
  std::vector<float> tile = {-88, -1e30f, -kInfinity, std::nanf("")}, shift(4), sum(4);
  kernels::exp_columns(tile.data(), 1, 4, 1, shift.data(), sum.data());
  EXPECT_EQ(tile[0], 0);
  EXPECT_EQ(tile[1], 0);
  EXPECT_EQ(tile[2], 0);
  EXPECT_TRUE(std::isnan(tile[3]));
  EXPECT_TRUE(std::isnan(sum[3]));
}

TEST(Kernels, ExpColumnsEqualsTheFormula) {
  for (const std::int64_t columns : {1, 5, 16, 37, 128}) {
    const std::int64_t rows = 29;
    auto tile = numbers(static_cast<std::size_t>(rows * columns), -1, 1, 3);
    const auto cosines = tile;
    const std::vector<float> shift(static_cast<std::size_t>(columns), 60.0f);
    std::vector<float> sum(static_cast<std::size_t>(columns), 0.5f);
    kernels::exp_columns(tile.data(), rows, columns, 64, shift.data(), sum.data());
    for (std::int64_t j = 0; j < columns; ++j) {
      double total = 0.5;
      for (std::int64_t i = 0; i < rows; ++i) {
        const auto at = static_cast<std::size_t>(i * columns + j);
        const double want = kernels::formulas::shifted_exp<double>(cosines[at], 64, 60);
        EXPECT_NEAR(tile[at], want, 2e-5 * want + 1e-37);
        total += want;
      }
      EXPECT_NEAR(sum[static_cast<std::size_t>(j)], total, 2e-5 * total);
    }
  }
}

TEST(Kernels, ColumnMaxAndMaskEqualTheFormulas) {
  for (const std::int64_t columns : {1, 7, 16, 50}) {
    const std::int64_t rows = 13;
    auto tile = numbers(static_cast<std::size_t>(rows * columns), -1, 1, 4);
    const auto cosines = tile;
    kernels::mask_above(tile.data(), rows, columns, 0.4f);
    for (std::size_t i = 0; i < tile.size(); ++i)
      EXPECT_EQ(tile[i], kernels::formulas::mask_above(cosines[i], 0.4f));
    std::vector<float> maximum(static_cast<std::size_t>(columns), -0.9f);
    kernels::column_max(tile.data(), rows, columns, maximum.data());
    for (std::int64_t j = 0; j < columns; ++j) {
      float want = -0.9f;
      for (std::int64_t i = 0; i < rows; ++i)
        want = std::max(want, tile[static_cast<std::size_t>(i * columns + j)]);
      EXPECT_EQ(maximum[static_cast<std::size_t>(j)], want);
    }
  }
}

TEST(Kernels, UpdateRowEqualsTheFormula) {
  for (const std::int64_t dim : {1, 8, 33, 512}) {
    auto w = numbers(static_cast<std::size_t>(dim), -0.1, 0.1, 5);
    auto v = numbers(static_cast<std::size_t>(dim), -1, 1, 6);
    const auto gradient = numbers(static_cast<std::size_t>(dim), -1, 1, 7);
    auto want_w = w, want_v = v;
    std::vector<double> unit(w.size());
    const double inverse = kernels::formulas::normalize_row(w.data(), dim, unit.data());
    const kernels::SgdStep step{0.1f, 0.9f, 5e-4f};
    kernels::formulas::update_row(want_w.data(), want_v.data(), gradient.data(), inverse, dim,
                                  step);
    kernels::update_row(row(w), row(v), {}, gradient.data(), static_cast<float>(inverse), dim,
                        step, {});
    double largest = 0;
    for (const float x : want_v) largest = std::max(largest, std::abs(static_cast<double>(x)));
    for (std::size_t j = 0; j < w.size(); ++j) {
      EXPECT_NEAR(v[j], want_v[j], 2e-6 * std::max(largest, inverse)) << dim;
      EXPECT_NEAR(w[j], want_w[j], 2e-7 * std::max(largest, inverse)) << dim;
    }
  }
}

TEST(Kernels, UpdateRowAdamWEqualsTheFormula) {
  for (const std::int64_t dim : {1, 8, 33, 512}) {
    const auto size = static_cast<std::size_t>(dim);
    auto w = numbers(size, -0.1, 0.1, 5), m = numbers(size, -1, 1, 6), v = numbers(size, 0, 1, 8);
    const auto gradient = numbers(size, -1, 1, 7);
    auto want_w = w, want_m = m, want_v = v;
    std::vector<double> unit(w.size());
    const double inverse = kernels::formulas::normalize_row(w.data(), dim, unit.data());
    const auto step = kernels::formulas::adamw_step(1e-3, 0.1, 3);
    kernels::formulas::update_row_adamw(want_w.data(), want_m.data(), want_v.data(),
                                        gradient.data(), inverse, dim, step);
    kernels::update_row_adamw(row(w), row(m), row(v), gradient.data(),
                              static_cast<float>(inverse), dim, step, {});
    for (std::size_t j = 0; j < w.size(); ++j) {
      EXPECT_NEAR(m[j], want_m[j], 2e-6 * inverse) << dim;
      EXPECT_NEAR(v[j], want_v[j], 2e-6 * inverse * inverse) << dim;
      EXPECT_NEAR(w[j], want_w[j], 1e-6) << dim;
    }
  }
}

}  // namespace
}  // namespace pfc
