#include "head/kernels/kernels.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "head/kernel_device.h"
#include "head/random_numbers.h"

namespace pfc {
namespace {

namespace formulas = kernels::formulas;
namespace rules = kernels::rules;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

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

class Kernels : public ::testing::TestWithParam<KernelDevice*> {
 protected:
  void SetUp() override {
    if (!device().begin()) GTEST_SKIP() << "compiled, not run: this processor lacks it";
  }
  void TearDown() override { device().end(); }

  static KernelDevice& device() { return *GetParam(); }
  /// The next number of components that its rows can have.
  static std::int64_t fitting(std::int64_t dim) {
    return (dim + device().width() - 1) / device().width() * device().width();
  }
  static std::vector<std::int64_t> fitting(std::vector<std::int64_t> dims) {
    for (std::int64_t& dim : dims) dim = fitting(dim);
    return dims;
  }
  template <class L>
  static void expect_others_equal_the_formula(const L& loss);
  template <class Rule>
  static void expect_update_equals_the_formula(const kernels::RowUpdate& update, std::int64_t dim);
  template <class Rule>
  static void expect_rounded_by_the_formulas_bits(const kernels::RowUpdate& update);
};

INSTANTIATE_TEST_SUITE_P(, Kernels, ::testing::ValuesIn(kernel_devices()),
                         [](const auto& tested) { return tested.param->name(); });

/// The maximum of the logits, the exponentials and their sums, of a tile with masked places.
template <class L>
void Kernels::expect_others_equal_the_formula(const L& loss) {
  constexpr std::int64_t kRows = 13;
  constexpr float kScale = 20;
  for (const float filter : {kNoFilter, 0.4f}) {
    for (const std::int64_t columns : {1, 7, 16, 50}) {
      SCOPED_TRACE(std::string(L::kName) + ", filter " + std::to_string(filter));
      const auto n = static_cast<std::size_t>(columns);
      auto tile = random_numbers(kRows * columns, -1, 1, 4);
      tile[0] = -kInfinity;  // does not count
      const auto cosines = tile;
      const auto bounds = random_numbers(columns, -0.5, 0.5, 5);
      std::vector<double> moving = first_moving_numbers(Loss(loss));
      for (double& number : moving) number += 0.25;
      std::vector<float> maximum(n, -0.9f * kScale);
      std::vector<double> sum(n);
      device().add_to_softmax(tile.data(), kRows, columns, kScale,
                              {loss, filter, bounds.data(), moving.data()}, maximum.data(),
                              sum.data());
      for (std::size_t j = 0; j < n; ++j) {
        const auto other = [&](std::size_t i) {
          return formulas::other_cosine(loss, cosines[i * n + j], filter, bounds[j],
                                        moving_numbers<L>(moving.data()));
        };
        float want_maximum = -0.9f;
        for (std::size_t i = 0; i < kRows; ++i)
          want_maximum = std::max(want_maximum, other(i).value);
        EXPECT_FLOAT_EQ(maximum[j], want_maximum * kScale);
        double want_sum = 0;
        for (std::size_t i = 0; i < kRows; ++i) {
          const double p = formulas::shifted_exp<double>(static_cast<double>(other(i).value),
                                                         kScale, static_cast<double>(maximum[j]));
          want_sum += p;
          const double want = p * static_cast<double>(other(i).slope);
          EXPECT_NEAR(tile[i * n + j], want, 1e-5 * std::abs(want) + 1e-37);
        }
        EXPECT_NEAR(sum[j], want_sum, 1e-5 * want_sum);
      }
      EXPECT_EQ(tile[0], 0) << "−∞ must stay −∞";
    }
  }
}

TEST_P(Kernels, NormalizeRowEqualsTheFormula) {
  for (const std::int64_t dim : fitting({1, 3, 16, 31, 512, 513})) {
    auto w = random_numbers(dim, -1, 1, 1);
    std::vector<float> unit(w.size());
    std::vector<double> want(w.size());
    const double inverse = formulas::normalize_row(w.data(), dim, want.data());
    EXPECT_NEAR(device().normalize_row(row(w), dim, unit.data()), inverse, 1e-6 * inverse);
    for (std::size_t j = 0; j < w.size(); ++j) EXPECT_NEAR(unit[j], want[j], 1e-6);
  }
}

TEST_P(Kernels, NormalizeRowOfZerosIsZeroAndOfNanIsNan) {
  const std::int64_t dim = fitting(20);
  std::vector<float> zeros(static_cast<std::size_t>(dim)), unit(zeros.size());
  EXPECT_EQ(device().normalize_row(row(zeros), dim, unit.data()), 1e12f);
  EXPECT_EQ(unit, zeros);
  zeros[7] = std::nanf("");
  EXPECT_TRUE(std::isnan(device().normalize_row(row(zeros), dim, unit.data())));
  EXPECT_TRUE(std::isnan(unit[0]));
}

/// Of every loss, with a filter and without.
TEST_P(Kernels, WhatLossesMakeOfOtherClassesEqualsTheFormula) {
  std::apply([&](const auto&... loss) { (expect_others_equal_the_formula(loss), ...); }, Losses());
}

TEST_P(Kernels, OfAClassesCentresTheNearestStays) {
  for (const std::int64_t group : {1, 2, 3, 5}) {
    const std::int64_t rows = 6 * group, columns = 37;
    auto tile = random_numbers(rows * columns, -1, 1, 5);
    tile[3] = tile[static_cast<std::size_t>(columns * (group - 1) + 3)] = 1;  // two as near
    const auto cosines = tile;
    device().keep_nearest(tile.data(), rows, columns, group);
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

const Rounding kRounding{CounterRandom(3, RandomStream::kRounding), 12, 34};
const kernels::RowUpdate kSgd{{.momentum = 0.9, .weight_decay = 5e-4}, 0.1};

kernels::RowUpdate adamw(double lr, double weight_decay, std::int32_t number) {
  return {{.kind = CenterOptimizer::Kind::kAdamW, .weight_decay = weight_decay}, lr, number};
}

/// A row's update against the rule's own formula in float64.
template <class Rule>
void Kernels::expect_update_equals_the_formula(const kernels::RowUpdate& update, std::int64_t dim) {
  constexpr std::size_t kStates = Rule::kStates.size();
  auto w = random_numbers(dim, -0.1, 0.1, 5);
  const auto gradient = random_numbers(dim, -1, 1, 7);
  std::array<std::vector<float>, kStates> states, want_states;
  std::array<float*, kStates> want = {};
  kernels::TableRow table_row = {.w = row(w)};
  for (std::size_t k = 0; k < kStates; ++k) {
    states[k] = random_numbers(dim, 0, 1, 8 + k);  // some rules take a root
    want_states[k] = states[k];
    want[k] = want_states[k].data();
    table_row.states[k] = row(states[k]);
  }
  auto want_w = w;
  std::vector<double> unit(w.size());
  const double inverse = formulas::normalize_row(w.data(), dim, unit.data());
  rules::update_row(want_w.data(), want, gradient.data(), inverse, dim,
                    Rule(update.optimizer, update.lr, update.number));
  device().update_row(table_row, update, kRounding, gradient.data(), static_cast<float>(inverse),
                      dim);
  const auto expect_near = [](const std::vector<float>& found, const std::vector<float>& wanted,
                              double error) {
    for (std::size_t j = 0; j < wanted.size(); ++j) EXPECT_NEAR(found[j], wanted[j], error);
  };
  // A gradient has the size of the inverse norm, and a state at most its square.
  expect_near(w, want_w, 2e-7 * std::max(5.0, inverse));
  for (std::size_t k = 0; k < kStates; ++k)
    expect_near(states[k], want_states[k], 2e-6 * std::max(1.0, inverse * inverse));
}

TEST_P(Kernels, UpdateRowEqualsTheFormulaOfEveryRule) {
  for (const auto& known : Names<CenterOptimizer::Kind>::kAll) {
    const kernels::RowUpdate update = {
        {.kind = known.first, .momentum = 0.9, .weight_decay = 0.1}, /*lr=*/0.01, /*number=*/3};
    rules::with_rule(known.first, [&]<class Rule>(std::type_identity<Rule>) {
      for (const std::int64_t dim : fitting({1, 8, 33, 512})) {
        SCOPED_TRACE(std::string(known.second) + " of " + std::to_string(dim));
        expect_update_equals_the_formula<Rule>(update, dim);
      }
    });
  }
}

TEST_P(Kernels, AdamWsFirstStepHasAllDigitsOfOneMinusBeta) {
  const std::int64_t dim = fitting(33);
  auto w = random_numbers(dim, 0.5, 1, 5);
  std::vector<float> m(w.size()), v(w.size()), gradient(w.size());
  gradient[0] = 1;
  std::vector<double> unit(w.size());
  const double inverse = formulas::normalize_row(w.data(), dim, unit.data());
  const double dw = (1 - unit[0] * unit[0]) * inverse;
  device().update_row({.w = row(w), .states = {row(m), row(v)}}, adamw(1e-3, 0, 1), kRounding,
                      gradient.data(), static_cast<float>(inverse), dim);
  EXPECT_NEAR(m[0], 0.1 * dw, 1e-6 * 0.1 * dw);
  EXPECT_NEAR(v[0], 0.001 * dw * dw, 1e-6 * 0.001 * dw * dw);
}

TEST_P(Kernels, AdamWsDecayIsRightOnAverage) {
  // A millionth is 17 units in the last place of float32 beside 1; each weight is rounded to a
  // whole number of units.
  constexpr std::int64_t kSize = 1 << 14;
  auto w = random_numbers(kSize, 0.5, 1, 5);
  const auto before = w;
  std::vector<float> m(kSize), v(kSize), gradient(kSize);
  device().update_row({.w = row(w), .states = {row(m), row(v)}}, adamw(1e-4, 1e-2, 1), kRounding,
                      gradient.data(), 1, kSize);
  double taken = 0, wanted = 0;
  for (std::size_t j = 0; j < kSize; ++j) {
    taken += static_cast<double>(before[j]) - static_cast<double>(w[j]);
    wanted += 1e-6 * static_cast<double>(before[j]);
  }
  EXPECT_NEAR(taken, wanted, 2e-3 * wanted);
}

TEST_P(Kernels, FillNormalEqualsTheFormula) {
  const CounterRandom random(11, RandomStream::kCentreInit);
  const std::uint64_t number = (std::uint64_t{3} << 32) + 5;
  for (const std::int64_t dim : fitting({1, 4, 5, 33, 512})) {
    std::vector<float> w(static_cast<std::size_t>(dim), kInfinity);
    std::vector<BFloat16> half(w.size());
    device().fill_normal(row(w), dim, 0.01f, random, number);
    device().fill_normal(row(half), dim, 0.01f, random, number);
    for (std::size_t j = 0; j < w.size(); ++j) {
      const auto words = random.words(number, j / 4 * 4);
      const std::size_t pair = j / 2 % 2 * 2;
      const auto want = formulas::normal_pair<double>(words[pair], words[pair + 1]);
      EXPECT_NEAR(w[j], 0.01 * want[j % 2], 1e-7) << dim << " " << j;
    }
    EXPECT_EQ(half, rounded(w));
  }
}

TEST(Formulas, BFloat16RoundsToTheNearestAndKeepsInfinityAndNan) {
  const auto through = [](float x) { return formulas::to_float(formulas::round_to_nearest(x)); };
  for (const float x : random_numbers(1000, -3, 3, 9)) {
    EXPECT_LE(std::abs(through(x) - x), std::abs(x) / 256);
  }
  EXPECT_EQ(through(1.00390625f), 1.0f);       // halfway: to the even one, below …
  EXPECT_EQ(through(1.01171875f), 1.015625f);  // … and above
  EXPECT_EQ(through(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(through(std::nanf(""))));
}

TEST_P(Kernels, NormalizeRowReadsBFloat16) {
  const std::int64_t dim = fitting(37);
  auto half = rounded(random_numbers(dim, -1, 1, 1));
  auto whole = floats(half);
  std::vector<float> unit(whole.size()), want(whole.size());
  EXPECT_EQ(device().normalize_row(row(half), dim, unit.data()),
            device().normalize_row(row(whole), dim, want.data()));
  EXPECT_EQ(unit, want);
}

TEST_P(Kernels, MissedStepsComeBeforeTheUpdate) {
  const kernels::CatchUp missed{-0.01f, -0.3f, 0.02f, 0.81f};
  for (const std::int64_t dim : fitting({1, 8, 33, 512})) {
    const auto size = static_cast<std::size_t>(dim);
    auto w = random_numbers(dim, -0.1, 0.1, 5), v = random_numbers(dim, -0.01, 0.01, 6);
    const auto gradient = random_numbers(dim, -0.01, 0.01, 7);
    auto want_w = w, want_v = v;
    rules::catch_up_row<double>(want_w.data(), want_v.data(), dim, missed);

    std::vector<float> read(size), caught_w = w, caught_v = v;
    kernels::TableRow table_row{.w = row(w), .states = {row(v)}, .missed = missed};
    device().read_row(table_row, dim, read.data());
    device().catch_up_row({row(caught_w), {row(caught_v)}, missed}, dim, kRounding);
    for (std::size_t j = 0; j < size; ++j) {
      EXPECT_NEAR(read[j], want_w[j], 1e-8);
      EXPECT_NEAR(caught_w[j], want_w[j], 1e-8);
      EXPECT_NEAR(caught_v[j], want_v[j], 1e-8);
    }

    std::vector<double> unit(size);
    const double inverse = formulas::normalize_row(want_w.data(), dim, unit.data());
    rules::update_row(want_w.data(), {want_v.data()}, gradient.data(), inverse, dim,
                      rules::Sgd(kSgd.optimizer, kSgd.lr, 1));
    device().update_row(table_row, kSgd, kRounding, gradient.data(), static_cast<float>(inverse),
                        dim);
    for (std::size_t j = 0; j < size; ++j) {
      EXPECT_NEAR(w[j], want_w[j], 1e-7 * std::max(1.0, inverse)) << dim;
      EXPECT_NEAR(v[j], want_v[j], 1e-6 * std::max(1.0, inverse)) << dim;
    }
  }
}

TEST_P(Kernels, WithoutMomentumTheUpdateIsTheGradientsAlone) {
  const std::int64_t dim = fitting(33);
  auto w = random_numbers(dim, -0.1, 0.1, 5), v = std::vector<float>(w.size()), without = w;
  const auto gradient = random_numbers(dim, -0.01, 0.01, 7);
  const kernels::RowUpdate update{{.momentum = 0}, 0.1};
  device().update_row({row(w), {row(v)}}, update, kRounding, gradient.data(), 3, dim);
  device().update_row({row(without)}, update, kRounding, gradient.data(), 3, dim);
  EXPECT_EQ(without, w);
}

TEST_P(Kernels, BFloat16IsRoundedByTheFormulasBits) {
  const formulas::RoundingKey key = kRounding.key();
  for (const std::int64_t dim : fitting({1, 33, 512})) {
    auto w = rounded(random_numbers(dim, -0.1, 0.1, 5));
    auto v = rounded(random_numbers(dim, -0.1, 0.1, 6));
    const auto before_w = floats(w), before_v = floats(v);
    const kernels::CatchUp missed{-0.001953125f, 0, 0, 0.998046875f};  // exact in float32
    device().catch_up_row({row(w), {row(v)}, missed}, dim, kRounding);
    for (std::size_t j = 0; j < w.size(); ++j) {
      const auto bits = formulas::rounding_bits(key, static_cast<std::uint32_t>(j));
      const auto low = static_cast<std::uint16_t>(bits),
                 high = static_cast<std::uint16_t>(bits >> 16);
      EXPECT_EQ(w[j], formulas::round_stochastically(before_w[j] * (1 + missed.w_w), low));
      EXPECT_EQ(v[j], formulas::round_stochastically(before_v[j] * missed.v_v, high));
    }
    const auto after = w;
    device().catch_up_row({row(w), {row(v)}}, dim, kRounding);
    EXPECT_EQ(w, after) << "nothing to catch up";
  }
}

TEST_P(Kernels, StochasticRoundingIsRightOnAverage) {
  constexpr int kTimes = 4000;
  const auto start = rounded(random_numbers(64, 0.5, 1, 5));
  const std::vector<float> exact = floats(start);
  std::vector<double> mean_w(64), mean_v(64);
  for (std::uint64_t i = 1; i <= kTimes; ++i) {
    auto w = start, v = start;
    device().catch_up_row({row(w), {row(v)}, {-1e-4f, 0, 0, 1.0003f}}, 64,
                          {kRounding.random, i, i});
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

/// Of a row of 512 numbers in bfloat16 and its states, all are the formula's float32 rounded by the
/// formula's bits, but for a few that float32 gives another last digit.
template <class Rule>
void Kernels::expect_rounded_by_the_formulas_bits(const kernels::RowUpdate& update) {
  constexpr std::int64_t kSize = 512;
  constexpr std::size_t kStates = Rule::kStates.size();
  auto w = rounded(random_numbers(kSize, -0.1, 0.1, 5));
  std::vector<BFloat16> states[kernels::kMostStates];
  auto want_w = floats(w);
  std::vector<float> want[kernels::kMostStates];
  kernels::TableRow table_row{.w = row(w)};
  std::array<float*, kStates> want_states;
  for (std::size_t k = 0; k < kStates; ++k) {
    states[k] = rounded(random_numbers(kSize, 0.1, 1, 6 + k));
    want[k] = floats(states[k]);
    want_states[k] = want[k].data();
    table_row.states[k] = row(states[k]);
  }
  const auto gradient = random_numbers(kSize, -1, 1, 9);
  rules::update_row(want_w.data(), want_states, gradient.data(), 2.0, kSize,
                    Rule(update.optimizer, update.lr, update.number));
  device().update_row(table_row, update, kRounding, gradient.data(), 2, kSize);
  const auto [first, second] = kRounding.key();
  int others = 0;
  for (std::uint32_t j = 0; j < kSize; ++j) {
    const std::uint32_t bits[] = {formulas::rounding_bits({first, second}, j),
                                  formulas::rounding_bits({second, first}, j)};
    const auto is_other = [](BFloat16 found, float exact, std::uint32_t random) {
      return found != formulas::round_stochastically(exact, static_cast<std::uint16_t>(random));
    };
    others += is_other(w[j], want_w[j], bits[0]);
    others += is_other(states[0][j], want[0][j], bits[0] >> 16);
    if (kStates > 1) others += is_other(states[1][j], want[1][j], bits[1]);
  }
  EXPECT_LE(others, 5);
}

TEST_P(Kernels, UpdateRowInBFloat16IsRoundedByTheFormulasBits) {
  expect_rounded_by_the_formulas_bits<rules::Sgd>(kSgd);
  expect_rounded_by_the_formulas_bits<rules::AdamW>(adamw(1e-3, 0.1, 3));
}

}  // namespace
}  // namespace pfc
