#include "head/kernels/kernels.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "head/kernels/best_target.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

namespace formulas = kernels::formulas;
namespace rules = kernels::rules;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> numbers(std::size_t count, double low, double high, std::uint64_t seed) {
  const CounterRandom random(seed, RandomStream::kCentreInit);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(
        static_cast<float>(low + (high - low) * static_cast<double>(random.bits(0, i)) * 0x1p-64));
  }
  return values;
}

using formulas::BFloat16;

kernels::Row row(std::vector<float>& values) {
  return {values.data(), NumberType::kFloat32};
}
kernels::Row row(std::vector<BFloat16>& values) {
  return {values.data(), NumberType::kBFloat16};
}

std::vector<BFloat16> rounded(const std::vector<float>& values) {
  std::vector<BFloat16> result;
  for (const float x : values) result.push_back(formulas::round_to_nearest(x));
  return result;
}

std::vector<float> floats(const std::vector<BFloat16>& values) {
  std::vector<float> result;
  for (const BFloat16 x : values) result.push_back(formulas::to_float(x));
  return result;
}

using kernels::Target;

/// Every instruction set for which the kernels were compiled and which this processor has, one
/// after another. The portable kernels have one.
class Kernels : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (kernels::target_of_processor() < GetParam())
      GTEST_SKIP() << "compiled, not run: this processor lacks it";
    kernels::target_in_use() = GetParam();
  }
  void TearDown() override { kernels::target_in_use() = kernels::target_of_processor(); }
};

std::vector<Target> compiled_targets() {
  if (std::string_view(kernels::instruction_set()) == "scalar") return {Target::kBaseline};
#ifdef __x86_64__
  return {Target::kBaseline, Target::kSse4, Target::kAvx2, Target::kAvx3};
#else
  return {Target::kBaseline};
#endif
}

std::string name_of(const ::testing::TestParamInfo<Target>& target) {
  constexpr std::array kNames = {"Baseline", "Sse4", "Avx2", "Avx3"};
  return kNames.at(static_cast<std::size_t>(target.param));
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, Kernels, ::testing::ValuesIn(compiled_targets()), name_of);

/// The largest cosine, the exponentials and their sums, of a tile with masked places.
template <class L>
void expect_others_equal_the_formula(const L& loss) {
  constexpr std::int64_t kRows = 13;
  constexpr float kScale = 20;
  for (const float filter : {kNoFilter, 0.4f}) {
    for (const std::int64_t columns : {1, 7, 16, 50}) {
      SCOPED_TRACE(std::string(L::kName) + ", filter " + std::to_string(filter));
      const auto n = static_cast<std::size_t>(columns);
      auto tile = numbers(kRows * n, -1, 1, 4);
      tile[0] = -kInfinity;  // does not count
      const auto cosines = tile;
      const auto bounds = numbers(n, -0.5, 0.5, 5);
      std::vector<double> moving = first_moving_numbers(Loss(loss));
      for (double& number : moving) number += 0.25;
      const kernels::Others others{loss, filter, bounds.data(), moving.data()};
      std::vector<float> maximum(n, -0.9f);
      const std::vector<float> shift(n, kScale);
      std::vector<double> sum(n);
      kernels::column_max(tile.data(), kRows, columns, others, maximum.data());
      kernels::exp_columns(tile.data(), kRows, columns, kScale, shift.data(), others, sum.data());
      for (std::size_t j = 0; j < n; ++j) {
        float want_maximum = -0.9f;
        double want_sum = 0;
        for (std::size_t i = 0; i < kRows; ++i) {
          const OtherCosine other = kernels::formulas::other_cosine(
              loss, cosines[i * n + j], filter, bounds[j], moving_numbers<L>(moving.data()));
          want_maximum = std::max(want_maximum, other.value);
          const double p = kernels::formulas::shifted_exp<double>(static_cast<double>(other.value),
                                                                  kScale, kScale);
          want_sum += p;
          const double want = p * static_cast<double>(other.slope);
          EXPECT_NEAR(tile[i * n + j], want, 1e-5 * std::abs(want) + 1e-37);
        }
        EXPECT_EQ(maximum[j], want_maximum);
        EXPECT_NEAR(sum[j], want_sum, 1e-5 * want_sum);
      }
      EXPECT_EQ(tile[0], 0) << "−∞ must stay −∞";
    }
  }
}

TEST_P(Kernels, NormalizeRowEqualsTheFormula) {
  for (const std::int64_t dim : {1, 3, 16, 31, 512, 513}) {
    auto w = numbers(static_cast<std::size_t>(dim), -1, 1, 1);
    std::vector<float> unit(w.size());
    std::vector<double> want(w.size());
    const double inverse = kernels::formulas::normalize_row(w.data(), dim, want.data());
    EXPECT_NEAR(kernels::normalize_row(row(w), dim, unit.data()), inverse, 1e-6 * inverse);
    for (std::size_t j = 0; j < w.size(); ++j) EXPECT_NEAR(unit[j], want[j], 1e-6);
  }
}

TEST_P(Kernels, NormalizeRowOfZerosIsZeroAndOfNanIsNan) {
  std::vector<float> zeros(20), unit(20);
  EXPECT_EQ(kernels::normalize_row(row(zeros), 20, unit.data()), 1e12f);
  EXPECT_EQ(unit, zeros);
  zeros[7] = std::nanf("");
  EXPECT_TRUE(std::isnan(kernels::normalize_row(row(zeros), 20, unit.data())));
  EXPECT_TRUE(std::isnan(unit[0]));
}

TEST_P(Kernels, ExponentialIsWithinItsStatedError) {
  // One column for each value, scale 1, shift 0. The argument is then exact, so the error is that
  // of the exponential.
  auto x = numbers(100'000, -87.3, 0, 2);
  x.insert(x.end(), {0.0f, -1e-9f, -87.3365f, 1e-6f});
  std::vector<float> result = x, shift(x.size());
  std::vector<double> sum(x.size());
  kernels::exp_columns(result.data(), 1, std::ssize(x), 1, shift.data(), {}, sum.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double want = std::exp(static_cast<double>(x[i]));
    EXPECT_NEAR(result[i], want, 1.2e-7 * want) << x[i];
    EXPECT_EQ(static_cast<double>(result[i]), sum[i]);
  }
}

TEST_P(Kernels, ExponentialEndsInZeroAndKeepsNan) {
  std::vector<float> tile = {-88, -1e30f, -kInfinity, std::nanf("")}, shift(4);
  std::vector<double> sum(4);
  kernels::exp_columns(tile.data(), 1, 4, 1, shift.data(), {}, sum.data());
  EXPECT_EQ(tile[0], 0);
  EXPECT_EQ(tile[1], 0);
  EXPECT_EQ(tile[2], 0);
  EXPECT_TRUE(std::isnan(tile[3]));
  EXPECT_TRUE(std::isnan(sum[3]));
}

TEST_P(Kernels, ExpColumnsEqualsTheFormula) {
  for (const std::int64_t columns : {1, 5, 16, 37, 128}) {
    const std::int64_t rows = 29;
    auto tile = numbers(static_cast<std::size_t>(rows * columns), -1, 1, 3);
    const auto cosines = tile;
    const std::vector<float> shift(static_cast<std::size_t>(columns), 60.0f);
    std::vector<double> sum(static_cast<std::size_t>(columns), 0.5);
    kernels::exp_columns(tile.data(), rows, columns, 64, shift.data(), {}, sum.data());
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

TEST_P(Kernels, AMillionSmallTermsBesideALargeOneKeepSixDigits) {
  constexpr std::int64_t kRows = 1000, kColumns = 19, kTiles = 1000;
  const auto logits = numbers(kRows * kColumns, -17, -15, 12);
  const std::vector<float> shift(kColumns);
  std::vector<double> sum(kColumns), want(kColumns, 1.0);
  for (std::size_t i = 0; i < logits.size(); ++i)
    want[i % kColumns] += kTiles * std::exp(static_cast<double>(logits[i]));
  for (int t = 0; t < kTiles; ++t) {
    auto tile = logits;
    if (t == 0) {  // the large one is in a tile with small ones
      std::fill_n(tile.begin(), kColumns, 0.0f);
      for (std::size_t j = 0; j < kColumns; ++j)
        want[j] -= std::exp(static_cast<double>(logits[j]));
    }
    kernels::exp_columns(tile.data(), kRows, kColumns, 1, shift.data(), {}, sum.data());
  }
  for (std::size_t j = 0; j < kColumns; ++j) EXPECT_NEAR(sum[j], want[j], 1e-6 * want[j]) << j;
}

/// Of every loss, with a filter and without.
TEST_P(Kernels, WhatLossesMakeOfOtherClassesEqualsTheFormula) {
  std::apply([&](const auto&... loss) { (expect_others_equal_the_formula(loss), ...); }, Losses());
}

TEST_P(Kernels, OfAClassesCentresTheNearestStays) {
  for (const std::int64_t group : {1, 2, 3, 5}) {
    const std::int64_t rows = 6 * group, columns = 37;
    auto tile = numbers(static_cast<std::size_t>(rows * columns), -1, 1, 5);
    tile[3] = tile[static_cast<std::size_t>(columns * (group - 1) + 3)] = 1;  // two as near
    const auto cosines = tile;
    kernels::keep_nearest(tile.data(), rows, columns, group);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        const auto at = [&](std::int64_t row) {
          return cosines[static_cast<std::size_t>(row * columns + j)];
        };
        std::int64_t nearest = i / group * group;
        for (std::int64_t k = nearest; k < i / group * group + group; ++k)
          nearest = at(k) > at(nearest) ? k : nearest;
        EXPECT_EQ(tile[static_cast<std::size_t>(i * columns + j)],
                  i == nearest ? at(i) : -kInfinity);
      }
    }
  }
}

const kernels::RowUpdate kSgd{{.momentum = 0.9, .weight_decay = 5e-4}, 0.1};

kernels::RowUpdate adamw(double lr, double weight_decay, std::int32_t number) {
  return {{.kind = CenterOptimizer::Kind::kAdamW, .weight_decay = weight_decay}, lr, number};
}

TEST_P(Kernels, UpdateRowEqualsTheFormula) {
  for (const std::int64_t dim : {1, 8, 33, 512}) {
    auto w = numbers(static_cast<std::size_t>(dim), -0.1, 0.1, 5);
    auto v = numbers(static_cast<std::size_t>(dim), -1, 1, 6);
    const auto gradient = numbers(static_cast<std::size_t>(dim), -1, 1, 7);
    auto want_w = w, want_v = v;
    std::vector<double> unit(w.size());
    const double inverse = kernels::formulas::normalize_row(w.data(), dim, unit.data());
    rules::update_row(want_w.data(), {want_v.data()}, gradient.data(), inverse, dim,
                      rules::Sgd(kSgd.optimizer, kSgd.lr, 1));
    kernels::update_row({.w = row(w), .states = {row(v)}}, kSgd, gradient.data(),
                        static_cast<float>(inverse), dim);
    double largest = 0;
    for (const float x : want_v) largest = std::max(largest, std::abs(static_cast<double>(x)));
    for (std::size_t j = 0; j < w.size(); ++j) {
      EXPECT_NEAR(v[j], want_v[j], 2e-6 * std::max(largest, inverse)) << dim;
      EXPECT_NEAR(w[j], want_w[j], 2e-7 * std::max(largest, inverse)) << dim;
    }
  }
}

TEST_P(Kernels, UpdateRowAdamWEqualsTheFormula) {
  for (const std::int64_t dim : {1, 8, 33, 512}) {
    const auto size = static_cast<std::size_t>(dim);
    auto w = numbers(size, -0.1, 0.1, 5), m = numbers(size, -1, 1, 6), v = numbers(size, 0, 1, 8);
    const auto gradient = numbers(size, -1, 1, 7);
    auto want_w = w, want_m = m, want_v = v;
    std::vector<double> unit(w.size());
    const double inverse = kernels::formulas::normalize_row(w.data(), dim, unit.data());
    const kernels::RowUpdate update = adamw(1e-3, 0.1, 3);
    rules::update_row(want_w.data(), {want_m.data(), want_v.data()}, gradient.data(), inverse, dim,
                      rules::AdamW(update.optimizer, update.lr, update.number));
    kernels::update_row({.w = row(w), .states = {row(m), row(v)}}, update, gradient.data(),
                        static_cast<float>(inverse), dim);
    for (std::size_t j = 0; j < w.size(); ++j) {
      EXPECT_NEAR(m[j], want_m[j], 2e-6 * inverse) << dim;
      EXPECT_NEAR(v[j], want_v[j], 2e-6 * inverse * inverse) << dim;
      EXPECT_NEAR(w[j], want_w[j], 1e-6) << dim;
    }
  }
}

TEST_P(Kernels, AdamWsFirstStepHasAllDigitsOfOneMinusBeta) {
  auto w = numbers(33, 0.5, 1, 5);
  std::vector<float> m(33), v(33), gradient(33);
  gradient[0] = 1;
  std::vector<double> unit(33);
  const double inverse = formulas::normalize_row(w.data(), 33, unit.data());
  const double dw = (1 - unit[0] * unit[0]) * inverse;
  kernels::update_row({.w = row(w), .states = {row(m), row(v)}}, adamw(1e-3, 0, 1), gradient.data(),
                      static_cast<float>(inverse), 33);
  EXPECT_NEAR(m[0], 0.1 * dw, 1e-6 * 0.1 * dw);
  EXPECT_NEAR(v[0], 0.001 * dw * dw, 1e-6 * 0.001 * dw * dw);
}

TEST_P(Kernels, AdamWsDecayIsRightOnAverage) {
  // A millionth is 17 units in the last place of float32 beside 1; each weight is rounded to a
  // whole number of units.
  constexpr std::int64_t kDim = 1 << 14;
  auto w = numbers(kDim, 0.5, 1, 5);
  const auto before = w;
  std::vector<float> m(kDim), v(kDim), gradient(kDim);
  kernels::update_row({.w = row(w), .states = {row(m), row(v)}}, adamw(1e-4, 1e-2, 1),
                      gradient.data(), 1, kDim);
  double taken = 0, wanted = 0;
  for (std::size_t j = 0; j < kDim; ++j) {
    taken += static_cast<double>(before[j]) - static_cast<double>(w[j]);
    wanted += 1e-6 * static_cast<double>(before[j]);
  }
  EXPECT_NEAR(taken, wanted, 2e-3 * wanted);
}

TEST_P(Kernels, FillNormalEqualsTheFormula) {
  const CounterRandom random(11, RandomStream::kCentreInit);
  const std::uint64_t number = (std::uint64_t{3} << 32) + 5;
  for (const std::int64_t dim : {1, 4, 5, 33, 512}) {
    std::vector<float> w(static_cast<std::size_t>(dim), kInfinity);
    std::vector<BFloat16> half(w.size());
    kernels::fill_normal(row(w), dim, 0.01f, random, number);
    kernels::fill_normal(row(half), dim, 0.01f, random, number);
    for (std::size_t j = 0; j < w.size(); ++j) {
      const auto words = random.words(number, j / 4 * 4);
      const std::size_t pair = j / 2 % 2 * 2;
      const auto want = formulas::normal_pair<double>(words[pair], words[pair + 1]);
      EXPECT_NEAR(w[j], 0.01 * want[j % 2], 1e-7) << dim << " " << j;
    }
    EXPECT_EQ(half, rounded(w));
  }
}

TEST_P(Kernels, BFloat16RoundsToTheNearestAndKeepsInfinityAndNan) {
  const auto through = [](float x) { return formulas::to_float(formulas::round_to_nearest(x)); };
  for (const float x : numbers(1000, -3, 3, 9)) {
    EXPECT_LE(std::abs(through(x) - x), std::abs(x) / 256);
  }
  EXPECT_EQ(through(1.00390625f), 1.0f);       // halfway: to the even one, below …
  EXPECT_EQ(through(1.01171875f), 1.015625f);  // … and above
  EXPECT_EQ(through(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(through(std::nanf(""))));
}

TEST_P(Kernels, NormalizeRowReadsBFloat16) {
  auto half = rounded(numbers(37, -1, 1, 1));
  auto whole = floats(half);
  std::vector<float> unit(37), want(37);
  EXPECT_EQ(kernels::normalize_row(row(half), 37, unit.data()),
            kernels::normalize_row(row(whole), 37, want.data()));
  EXPECT_EQ(unit, want);
}

TEST_P(Kernels, MissedStepsComeBeforeTheUpdate) {
  const kernels::CatchUp missed{-0.01f, -0.3f, 0.02f, 0.81f};
  for (const std::int64_t dim : {1, 8, 33, 512}) {
    const auto size = static_cast<std::size_t>(dim);
    auto w = numbers(size, -0.1, 0.1, 5), v = numbers(size, -0.01, 0.01, 6);
    const auto gradient = numbers(size, -0.01, 0.01, 7);
    auto want_w = w, want_v = v;
    rules::catch_up_row<double>(want_w.data(), want_v.data(), dim, missed);

    std::vector<float> read(size), caught_w = w, caught_v = v;
    kernels::TableRow table_row{.w = row(w), .states = {row(v)}, .missed = missed};
    kernels::read_row(table_row, dim, read.data());
    kernels::catch_up_row({row(caught_w), {row(caught_v)}, missed}, dim, {});
    for (std::size_t j = 0; j < size; ++j) {
      EXPECT_NEAR(read[j], want_w[j], 1e-8);
      EXPECT_NEAR(caught_w[j], want_w[j], 1e-8);
      EXPECT_NEAR(caught_v[j], want_v[j], 1e-8);
    }

    std::vector<double> unit(size);
    const double inverse = formulas::normalize_row(want_w.data(), dim, unit.data());
    rules::update_row(want_w.data(), {want_v.data()}, gradient.data(), inverse, dim,
                      rules::Sgd(kSgd.optimizer, kSgd.lr, 1));
    kernels::update_row(table_row, kSgd, gradient.data(), static_cast<float>(inverse), dim);
    for (std::size_t j = 0; j < size; ++j) {
      EXPECT_NEAR(w[j], want_w[j], 1e-7 * std::max(1.0, inverse)) << dim;
      EXPECT_NEAR(v[j], want_v[j], 1e-6 * std::max(1.0, inverse)) << dim;
    }
  }
}

TEST_P(Kernels, WithoutMomentumTheUpdateIsTheGradientsAlone) {
  auto w = numbers(33, -0.1, 0.1, 5), v = std::vector<float>(33), without = w;
  const auto gradient = numbers(33, -0.01, 0.01, 7);
  const kernels::RowUpdate update{{.momentum = 0}, 0.1};
  kernels::update_row({row(w), {row(v)}}, update, gradient.data(), 3, 33);
  kernels::update_row({row(without)}, update, gradient.data(), 3, 33);
  EXPECT_EQ(without, w);
}

TEST_P(Kernels, BFloat16IsRoundedByTheFormulasBits) {
  const formulas::RoundingKey key{123, 456};
  for (const std::int64_t dim : {1, 33, 512}) {
    auto w = rounded(numbers(static_cast<std::size_t>(dim), -0.1, 0.1, 5));
    auto v = rounded(numbers(static_cast<std::size_t>(dim), -0.1, 0.1, 6));
    const auto before_w = floats(w), before_v = floats(v);
    const kernels::CatchUp missed{-0.001953125f, 0, 0, 0.998046875f};  // exact in float32
    kernels::catch_up_row({row(w), {row(v)}, missed}, dim, key);
    for (std::size_t j = 0; j < w.size(); ++j) {
      const auto bits = formulas::rounding_bits(key, static_cast<std::uint32_t>(j));
      const auto low = static_cast<std::uint16_t>(bits),
                 high = static_cast<std::uint16_t>(bits >> 16);
      EXPECT_EQ(w[j], formulas::round_stochastically(before_w[j] * (1 + missed.w_w), low));
      EXPECT_EQ(v[j], formulas::round_stochastically(before_v[j] * missed.v_v, high));
    }
    const auto after = w;
    kernels::catch_up_row({row(w), {row(v)}}, dim, key);
    EXPECT_EQ(w, after) << "nothing to catch up";
  }
}

TEST_P(Kernels, StochasticRoundingIsRightOnAverage) {
  constexpr int kTimes = 4000;
  const auto start = rounded(numbers(64, 0.5, 1, 5));
  const std::vector<float> exact = floats(start);
  std::vector<double> mean_w(64), mean_v(64);
  for (std::uint32_t i = 0; i < kTimes; ++i) {
    auto w = start, v = start;
    kernels::catch_up_row({row(w), {row(v)}, {-1e-4f, 0, 0, 1.0003f}}, 64, {i, ~i});
    for (std::size_t j = 0; j < 64; ++j) {
      mean_w[j] += static_cast<double>(formulas::to_float(w[j])) / kTimes;
      mean_v[j] += static_cast<double>(formulas::to_float(v[j])) / kTimes;
    }
  }
  for (std::size_t j = 0; j < 64; ++j) {
    // A unit in the last place is 2⁻⁸ here, so the deviation of a mean is below 2⁻⁸ / 2 / √4000.
    EXPECT_NEAR(mean_w[j], 0.9999 * static_cast<double>(exact[j]), 1.3e-4);
    EXPECT_NEAR(mean_v[j], 1.0003 * static_cast<double>(exact[j]), 1.3e-4);
  }
}

TEST_P(Kernels, AdamWInBFloat16IsTheFormulaRounded) {
  const auto start_w = rounded(numbers(33, -0.1, 0.1, 5)), start_m = rounded(numbers(33, -1, 1, 6)),
             start_v = rounded(numbers(33, 0.1, 1, 8));
  const auto gradient = numbers(33, -1, 1, 7);
  auto want_w = floats(start_w), want_m = floats(start_m), want_v = floats(start_v);
  kernels::RowUpdate update = adamw(1e-3, 0.1, 3);
  rules::update_row(want_w.data(), {want_m.data(), want_v.data()}, gradient.data(), 2.0, 33,
                    rules::AdamW(update.optimizer, update.lr, update.number));
  auto w = start_w, m = start_m, v = start_v;
  update.key = {7, 8};
  kernels::update_row({row(w), {row(m), row(v)}}, update, gradient.data(), 2, 33);
  const auto near = [](BFloat16 found, float want) {
    return std::abs(formulas::to_float(found) - want) <= std::abs(want) / 127;  // a neighbour
  };
  for (std::size_t j = 0; j < 33; ++j) {
    EXPECT_TRUE(near(w[j], want_w[j])) << j;
    EXPECT_TRUE(near(m[j], want_m[j])) << j;
    EXPECT_TRUE(near(v[j], want_v[j])) << j;
  }
}

}  // namespace
}  // namespace pfc
