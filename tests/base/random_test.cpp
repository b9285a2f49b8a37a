#include "pfc/base/random.h"

#include <gtest/gtest.h>

#include <vector>

namespace pfc {
namespace {

TEST(CounterRandom, EqualsPublishedPhiloxVectors) {
  // Random123's known answer for philox4x32-10: counter 0, key 0. The stream word must be 0 for it.
  const auto x = CounterRandom(0, RandomStream{0}).words(0, 0);
  EXPECT_EQ(x, (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
}

TEST(CounterRandom, StreamsAreIndependent) {
  const CounterRandom one(7, RandomStream::kMirror), other(7, RandomStream::kStratumDraw);
  EXPECT_NE(one.bits(3, 4), other.bits(3, 4));
  EXPECT_EQ(one.bits(3, 4), CounterRandom(7, RandomStream::kMirror).bits(3, 4));
}

TEST(CounterRandom, BelowIsUniform) {
  const CounterRandom random(1, RandomStream::kStratumDraw);
  std::vector<int> counts(10);
  for (std::uint64_t i = 0; i < 100'000; ++i)
    ++counts[static_cast<std::size_t>(random.below(10, 0, i))];
  double chi2 = 0;
  for (const int n : counts) chi2 += (n - 1e4) * (n - 1e4) / 1e4;
  EXPECT_LT(chi2, 27.9);  // 9 degrees of freedom, p = 0.001
}

TEST(Permutation, VisitsEveryIndexOnce) {
  for (const std::int64_t n : {1, 2, 3, 5, 16, 17, 1000, 24792}) {
    const Permutation permute(n, CounterRandom(42, RandomStream::kEpochOrder), 3);
    std::vector<int> seen(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) ++seen.at(static_cast<std::size_t>(permute(i)));
    EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(n), 1)) << n;
  }
}

TEST(Permutation, EpochsDiffer) {
  const CounterRandom random(42, RandomStream::kEpochOrder);
  const Permutation first(1000, random, 0), second(1000, random, 1);
  int equal = 0;
  for (std::int64_t i = 0; i < 1000; ++i) equal += first(i) == second(i);
  EXPECT_LT(equal, 10);
}

TEST(Permutation, PositionsAreUniform) {
  // Over many keys, index 0 lands in each of 8 bins equally often.
  std::vector<int> counts(8);
  for (std::uint64_t key = 0; key < 8000; ++key) {
    const Permutation permute(1000, CounterRandom(5, RandomStream::kEpochOrder), key);
    ++counts[static_cast<std::size_t>(permute(0) / 125)];
  }
  double chi2 = 0;
  for (const int n : counts) chi2 += (n - 1e3) * (n - 1e3) / 1e3;
  EXPECT_LT(chi2, 24.3);  // 7 degrees of freedom, p = 0.001
}

}  // namespace
}  // namespace pfc
