// The exponentials by themselves, which a GPU makes in one kernel with the rest of a softmax.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "head/every_instruction_set.h"
#include "head/random_numbers.h"

namespace pfc {
namespace {

TEST(ExpColumns, AreWithinTheirStatedError) {
  on_every_instruction_set([] {
    // One column for each value, scale 1, shift 0. The argument is then exact, so the error is that
    // of the exponential.
    auto x = random_numbers(100'000, -87.3, 0, 2);
    x.insert(x.end(), {0.0f, -1e-9f, -87.3365f, 1e-6f});
    std::vector<float> result = x, shift(x.size());
    std::vector<double> sum(x.size());
    kernels::exp_columns(result.data(), 1, std::ssize(x), 1, shift.data(), {}, sum.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = std::exp(static_cast<double>(x[i]));
      EXPECT_NEAR(result[i], want, 1.2e-7 * want) << x[i];
      EXPECT_EQ(static_cast<double>(result[i]), sum[i]);
    }
  });
}

TEST(ExpColumns, EndInZeroAndKeepNan) {
  on_every_instruction_set([] {
    std::vector<float> tile = {-88, -1e30f, -std::numeric_limits<float>::infinity(), std::nanf("")},
                       shift(4);
    std::vector<double> sum(4);
    kernels::exp_columns(tile.data(), 1, 4, 1, shift.data(), {}, sum.data());
    EXPECT_EQ(tile[0], 0);
    EXPECT_EQ(tile[1], 0);
    EXPECT_EQ(tile[2], 0);
    EXPECT_TRUE(std::isnan(tile[3]));
    EXPECT_TRUE(std::isnan(sum[3]));
  });
}

TEST(ExpColumns, EqualTheFormula) {
  on_every_instruction_set([] {
    for (const std::int64_t columns : {1, 5, 16, 37, 128}) {
      const std::int64_t rows = 29;
      auto tile = random_numbers(rows * columns, -1, 1, 3);
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
  });
}

TEST(ExpColumns, OfAMillionSmallTermsBesideALargeOneKeepSixDigits) {
  on_every_instruction_set([] {
    constexpr std::int64_t kRows = 1000, kColumns = 19, kTiles = 1000;
    const auto logits = random_numbers(kRows * kColumns, -17, -15, 12);
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
  });
}

}  // namespace
}  // namespace pfc
