#include "head/kernels/row_rules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "head/every_instruction_set.h"
#include "head/kernels/best_target.h"

// A rule of three states that no other file knows, compiled into the kernels for each instruction
// set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "head/row_rules_test.cpp"
#include <hwy/foreach_target.h>
// Not sorted with them: it needs what they define.
#include "head/kernels/rows_cpu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pfc::kernels::HWY_NAMESPACE {

/// Aggregated momentum (Lucas et al., arXiv 1804.00325): vᵢ ← βᵢvᵢ + dw + λw and
/// w ← w − η·(v₁ + v₂ + v₃) / 3.
struct AggregatedMomentum {
  static constexpr std::array<const char*, 3> kStates = {"short", "medium", "long"};
  static constexpr bool kCountsUpdates = false;
  static constexpr float kDamping[] = {0, 0.9f, 0.99f};

  float share, weight_decay;

  AggregatedMomentum(const CenterOptimizer& optimizer, double lr, std::int32_t)
      : share(static_cast<float>(lr / 3)),
        weight_decay(static_cast<float>(optimizer.weight_decay)) {}
  static bool keeps_states(const CenterOptimizer&) { return true; }
  float decay() const { return weight_decay; }

  template <class T>
  PFC_RULE void update(const Gradient<T>& gradient, T& w, std::array<T, 3>& states) const {
    for (std::size_t i = 0; i < states.size(); ++i) {
      states[i] = gradient.added_to(states[i] * T(kDamping[i]));
      w = mul_add(states[i], T(-share), w);
    }
  }
};

void update_by_aggregated_momentum(const TableRow& row, const RowUpdate& update,
                                   const float* d_unit, float inverse_norm, std::int64_t dim) {
  update_row_by<AggregatedMomentum>(row, update, d_unit, inverse_norm, dim);
}

}  // namespace pfc::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pfc {
namespace kernels {

void update_by_aggregated_momentum(const TableRow& row, const RowUpdate& update,
                                   const float* d_unit, float inverse_norm, std::int64_t dim) {
  PFC_BEST(update_by_aggregated_momentum)(row, update, d_unit, inverse_norm, dim);
}

}  // namespace kernels
namespace {

using kernels::formulas::BFloat16;

constexpr std::int64_t kDim = 37;  // no multiple of a vector
constexpr double kLr = 0.1, kDecay = 0.01;

struct Numbers {
  std::vector<float> w, d_unit;
  std::vector<float> states[3];

  Numbers() {
    for (std::int64_t j = 0; j < kDim; ++j) {
      const auto x = static_cast<double>(j);
      w.push_back(static_cast<float>(std::sin(x)));
      d_unit.push_back(static_cast<float>(std::cos(3 * x)));
      for (int i = 0; i < 3; ++i) states[i].push_back(static_cast<float>(std::sin(x * i + 1)));
    }
  }
  float inverse_norm() const {
    double squares = 0;
    for (const float x : w) squares += static_cast<double>(x) * static_cast<double>(x);
    return static_cast<float>(1 / std::sqrt(squares));
  }
};

/// As its paper has it, in float64.
std::vector<double> aggregated(const Numbers& from, std::vector<double> (&velocities)[3]) {
  double along = 0;
  const double inverse = from.inverse_norm();
  for (std::size_t j = 0; j < kDim; ++j)
    along += static_cast<double>(from.d_unit[j]) * static_cast<double>(from.w[j]) * inverse;
  std::vector<double> moved;
  for (std::size_t j = 0; j < kDim; ++j) {
    const double w = from.w[j], d_unit = from.d_unit[j];
    const double dw = (d_unit - along * w * inverse) * inverse + kDecay * w;
    double sum = 0;
    for (int i = 0; i < 3; ++i) {
      const double damping[] = {0, 0.9, 0.99};
      velocities[i].push_back(damping[i] * static_cast<double>(from.states[i][j]) + dw);
      sum += velocities[i].back();
    }
    moved.push_back(w - kLr * sum / 3);
  }
  return moved;
}

const kernels::RowUpdate kUpdate = {
    .optimizer = {.weight_decay = kDecay}, .lr = kLr, .key = {123, 456}};

TEST(RowRules, ANewOneOfThreeStatesIsItsFormulaOnEveryInstructionSet) {
  on_every_instruction_set([] {
    Numbers found;
    std::vector<double> velocities[3];
    const std::vector<double> want = aggregated(found, velocities);
    const auto row = [](std::vector<float>& x) { return kernels::Row{x.data()}; };
    kernels::TableRow table_row = {.w = row(found.w)};
    for (int i = 0; i < 3; ++i) table_row.states[i] = row(found.states[i]);
    kernels::update_by_aggregated_momentum(table_row, kUpdate, found.d_unit.data(),
                                           found.inverse_norm(), kDim);
    for (std::size_t j = 0; j < kDim; ++j) {
      EXPECT_NEAR(found.w[j], want[j], 1e-6);
      for (int i = 0; i < 3; ++i) EXPECT_NEAR(found.states[i][j], velocities[i][j], 1e-6);
    }
  });
}

TEST(RowRules, EachOfThreeStatesIsRoundedByBitsOfItsOwn) {
  // Velocities without a gradient and a decay are damped only; the first becomes 0.
  on_every_instruction_set([] {
    const Numbers from;
    std::vector<BFloat16> w(kDim), states[3];
    for (auto& state : states) {
      for (const float x : from.states[1]) state.push_back(kernels::formulas::round_to_nearest(x));
    }
    const auto start = states[1];
    const auto row = [](std::vector<BFloat16>& x) {
      return kernels::Row{x.data(), NumberType::kBFloat16};
    };
    kernels::RowUpdate update = kUpdate;
    update.optimizer.weight_decay = 0;
    const std::vector<float> nothing(kDim);
    kernels::update_by_aggregated_momentum(
        {row(w), {row(states[0]), row(states[1]), row(states[2])}}, update, nothing.data(), 1,
        kDim);
    for (std::size_t j = 0; j < kDim; ++j) {
      const auto place = static_cast<std::uint32_t>(j);
      const std::uint32_t bits = kernels::formulas::rounding_bits({456, 123}, place);
      const float x = kernels::formulas::to_float(start[j]);
      const auto rounded = [](float value, std::uint32_t random) {
        return kernels::formulas::round_stochastically(value, static_cast<std::uint16_t>(random));
      };
      EXPECT_EQ(states[1][j], rounded(0.9f * x, bits)) << j;
      EXPECT_EQ(states[2][j], rounded(0.99f * x, bits >> 16)) << j;
    }
  });
}

TEST(RowRules, AreKnownByTheirNames) {
  using Kind = CenterOptimizer::Kind;
  const auto names = [](const CenterOptimizer& optimizer) {
    const auto states = kernels::states_of(optimizer);
    return std::vector<std::string>(states.begin(), states.end());
  };
  EXPECT_EQ(names({}), std::vector<std::string>{"momentum"});
  EXPECT_EQ(names({.momentum = 0}), std::vector<std::string>());
  EXPECT_EQ(names({.kind = Kind::kAdamW}), (std::vector<std::string>{"momentum", "squares"}));
  EXPECT_TRUE(kernels::catches_up({}) && !kernels::counts_updates({}));
  EXPECT_TRUE(!kernels::catches_up({.kind = Kind::kAdamW}) &&
              kernels::counts_updates({.kind = Kind::kAdamW}));
}

}  // namespace
}  // namespace pfc
#endif
