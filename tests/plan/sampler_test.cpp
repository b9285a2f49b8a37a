#include "pfc/plan/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

std::vector<GlobalClass> some_labels(std::int64_t classes, std::int64_t batch, std::uint64_t seed) {
  const CounterRandom random(seed, RandomStream::kEpochOrder);
  std::vector<GlobalClass> labels;
  for (std::int64_t i = 0; i < batch; ++i)
    labels.push_back({random.below(classes, 0, static_cast<std::uint64_t>(i))});
  return labels;
}

std::vector<std::int64_t> draw_over_ranks(const ClassSamplerOptions& options, std::int64_t classes,
                                          int world, std::int64_t step,
                                          std::span<const GlobalClass> labels) {
  std::vector<std::int64_t> drawn;
  for (int rank = 0; rank < world; ++rank) {
    const ClassShard shard(classes, rank, world);
    for (const LocalRow row : ClassSampler(options, shard).draw(step, labels).rows())
      drawn.push_back(shard.global(row).v);
  }
  return drawn;
}

class AnySampling : public testing::TestWithParam<Sampling> {};
INSTANTIATE_TEST_SUITE_P(Samplings, AnySampling,
                         testing::Values(Sampling::kStratified, Sampling::kUniform,
                                         Sampling::kBlocks),
                         [](const auto& sampling) { return std::string(name_of(sampling.param)); });

TEST_P(AnySampling, DoesNotDependOnTheNumberOfRanks) {
  for (const double rate : {0.0, 0.01, 0.1, 0.37, 0.999, 1.0}) {
    const ClassSamplerOptions options{rate, GetParam(), 9};
    const auto labels = some_labels(1003, 64, 1);
    for (std::int64_t step = 0; step < 5; ++step) {
      const auto alone = draw_over_ranks(options, 1003, 1, step, labels);
      EXPECT_TRUE(std::is_sorted(alone.begin(), alone.end()));
      for (const int world : {2, 3, 7})
        EXPECT_EQ(draw_over_ranks(options, 1003, world, step, labels), alone) << rate;
    }
  }
}

TEST_P(AnySampling, DrawsClassesHoweverManyCentresEachHas) {
  const ClassShard shard(1000, 1, 3);
  const auto labels = some_labels(1000, 50, 1);
  const ClassSamplerOptions options{.sample_rate = 0.1, .sampling = GetParam()};
  EXPECT_EQ(ClassSampler(options, shard.of_centers(3)).draw(4, labels).rows(),
            ClassSampler(options, shard).draw(4, labels).rows());
}

TEST_P(AnySampling, HoldsEveryPositiveAndNoDuplicate) {
  const std::int64_t classes = 500, batch = 100;
  const auto labels = some_labels(classes, batch, 2);
  for (const double rate : {0.0, 0.1, 0.9, 1.0}) {
    const ClassShard shard(classes, 1, 3);
    const ClassSampler sampler({rate, GetParam(), 3}, shard);
    for (std::int64_t step = 0; step < 20; ++step) {
      const SampledClasses drawn = sampler.draw(step, labels);
      const std::vector<LocalRow> rows = drawn.rows();
      EXPECT_EQ(std::ssize(rows), drawn.count());
      EXPECT_EQ(std::set<LocalRow>(rows.begin(), rows.end()).size(), rows.size());
      EXPECT_LE(drawn.count(), sampler.most_rows(batch));
      ASSERT_EQ(std::ssize(drawn.targets), batch);
      for (std::size_t i = 0; i < labels.size(); ++i) {
        if (shard.owns(labels[i])) {
          EXPECT_EQ(rows.at(static_cast<std::size_t>(drawn.targets[i].v)), shard.row(labels[i]));
        } else {
          EXPECT_FALSE(drawn.targets[i].is_owned());
        }
      }
    }
  }
}

class SamplingOfClasses : public AnySampling {};
INSTANTIATE_TEST_SUITE_P(Samplings, SamplingOfClasses,
                         testing::Values(Sampling::kStratified, Sampling::kUniform),
                         [](const auto& sampling) { return std::string(name_of(sampling.param)); });

TEST_P(SamplingOfClasses, DrawsTheWantedNumberOfClasses) {
  for (const auto& [classes, rate, want] :
       {std::tuple{1000, 0.1, 100}, {1003, 0.1, 101}, {30, 0.1, 3}, {7, 0.01, 1}}) {
    const ClassSamplerOptions options{rate, GetParam(), 4};
    EXPECT_EQ(std::ssize(draw_over_ranks(options, classes, 1, 17, {})), want);
  }
}

TEST_P(SamplingOfClasses, ChoosesEveryClassEquallyOften) {
  const std::int64_t classes = 103, steps = 20'000;  // 11 strata, of unequal sizes
  const ClassSampler sampler({0.1, GetParam(), 5}, ClassShard(classes, 0, 1));
  std::vector<double> counts(static_cast<std::size_t>(classes));
  for (std::int64_t step = 0; step < steps; ++step) {
    for (const LocalRow row : sampler.draw(step, {}).rows())
      ++counts[static_cast<std::size_t>(row.v)];
  }
  const double p = 11.0 / 103, mean = steps * p, deviation = std::sqrt(steps * p * (1 - p));
  double chi2 = 0;
  for (const double count : counts)
    chi2 += (count - mean) * (count - mean) / (deviation * deviation);
  EXPECT_LT(chi2, 149);  // about 102 degrees of freedom, p = 0.002
  EXPECT_GT(chi2, 60);
}

TEST_P(AnySampling, DrawsAtEveryStepAsIfItsRateHeldForAllSteps) {
  const ClassShard shard(1003, 1, 3);
  const auto labels = some_labels(1003, 64, 5);
  const StepwiseNumber rate({{0, 0.1}, {3, 0.5}, {4, 0.02}});
  const ClassSampler sampler({rate, GetParam(), 7}, shard);
  for (const std::int64_t step : {7, 0, 3, 2, 4}) {
    const ClassSampler constant({rate.at(step), GetParam(), 7}, shard);
    EXPECT_EQ(sampler.draw(step, labels), constant.draw(step, labels)) << step;
    EXPECT_EQ(sampler.drawn(step), constant.drawn(0)) << step;
    EXPECT_EQ(sampler.most_rows(64, step), constant.most_rows(64)) << step;
  }
}

TEST_P(AnySampling, StepsAndSeedsDiffer) {
  const ClassShard shard(1000, 0, 1);
  const ClassSampler one({0.1, GetParam(), 1}, shard), other({0.1, GetParam(), 2}, shard);
  EXPECT_NE(one.draw(0, {}).rows(), one.draw(1, {}).rows());
  EXPECT_NE(one.draw(0, {}).rows(), other.draw(0, {}).rows());
  EXPECT_EQ(one.draw(7, {}).rows(), ClassSampler({0.1, GetParam(), 1}, shard).draw(7, {}).rows());
}

TEST_P(AnySampling, AnyPartOfARanksRowsIsListedByItself) {
  const auto labels = some_labels(1003, 64, 5);
  for (const double rate : {0.0, 0.1, 0.999, 1.0}) {
    for (int rank = 0; rank < 3; ++rank) {
      const ClassSampler sampler({rate, GetParam(), 7}, ClassShard(1003, rank, 3));
      for (std::int64_t step = 0; step < 20; ++step) {
        const SampledClasses drawn = sampler.draw(step, labels);
        const std::vector<LocalRow> all = drawn.rows();
        for (std::size_t begin = 0; begin < all.size(); begin += 17) {
          std::vector<LocalRow> part(std::min<std::size_t>(17, all.size() - begin));
          drawn.list(static_cast<std::int64_t>(begin), part);
          EXPECT_TRUE(std::ranges::equal(part, std::span(all).subspan(begin, part.size())));
        }
      }
    }
  }
}

class AnyStratified : public testing::TestWithParam<Sampling> {};
INSTANTIATE_TEST_SUITE_P(Samplings, AnyStratified,
                         testing::Values(Sampling::kStratified, Sampling::kBlocks),
                         [](const auto& sampling) { return std::string(name_of(sampling.param)); });

TEST_P(AnyStratified, DrawKnowsHowManyOfItsRowsLieBelowAnyAndWhichItHolds) {
  for (const std::int64_t classes : {2, 10, 97, 1003}) {
    for (const double rate : {0.01, 0.3, 0.95, 1.0}) {
      for (int rank = 0; rank < 3; ++rank) {
        const ClassShard shard(classes, rank, 3);
        const ClassSampler sampler({rate, GetParam(), 8}, shard);
        for (std::int64_t step = 0; step < 30; ++step) {
          const StratifiedDraw draw = sampler.draw(step, {}).drawn;
          std::int64_t below = 0;
          for (LocalRow row{0}; row.v < shard.rows(); ++row.v) {
            ASSERT_EQ(draw.below(row), below);
            const bool held = below < draw.count() && draw.row(below) == row;
            ASSERT_EQ(draw.contains(row), held);
            below += held ? 1 : 0;
          }
          ASSERT_EQ(below, draw.count());
        }
      }
    }
  }
}

/// The classes of all ranks, as whole blocks: block b holds classes 8b to 8b + 7, as far as there
/// are so many.
std::vector<std::int64_t> whole_blocks(std::span<const std::int64_t> drawn, std::int64_t classes) {
  std::vector<std::int64_t> blocks, want;
  for (const std::int64_t of_class : drawn) {
    const std::int64_t block = of_class / kBlockClasses;
    if (blocks.empty() || blocks.back() != block) blocks.push_back(block);
  }
  for (const std::int64_t block : blocks) {
    for (std::int64_t i = 0; i < kBlockClasses; ++i) {
      if (block * kBlockClasses + i < classes) want.push_back(block * kBlockClasses + i);
    }
  }
  EXPECT_EQ(std::vector(drawn.begin(), drawn.end()), want);
  return blocks;
}

TEST(BlockSampling, DrawsTheWantedNumberOfWholeBlocksOnAnyRanks) {
  for (const auto& [classes, rate, want] : {std::tuple{1000, 0.1, 13},
                                            {1003, 0.1, 13},
                                            {800, 0.1, 10},
                                            {30, 0.1, 1},
                                            {8, 0.5, 1},
                                            {5, 0.01, 1},
                                            {5, 0.0, 0},
                                            {1003, 1.0, 126},
                                            {3, 1.0, 1}}) {
    for (const int world : {1, 2, 3, 7}) {
      for (std::int64_t step = 0; step < 40; ++step) {
        const auto drawn = draw_over_ranks({rate, Sampling::kBlocks, 4}, classes, world, step, {});
        EXPECT_EQ(std::ssize(whole_blocks(drawn, classes)), want) << classes << " at " << rate;
      }
    }
  }
}

TEST(BlockSampling, ChoosesEveryBlockEquallyOftenAlsoTheShortLast) {
  const std::int64_t classes = 419, blocks = 53, steps = 20'000;  // 6 strata of 8 or 9 blocks
  const ClassSamplerOptions options{0.1, Sampling::kBlocks, 5};
  std::vector<double> counts(static_cast<std::size_t>(blocks));
  for (std::int64_t step = 0; step < steps; ++step) {
    for (const std::int64_t block :
         whole_blocks(draw_over_ranks(options, classes, 1, step, {}), classes))
      ++counts[static_cast<std::size_t>(block)];
  }
  // Chi-squared of 52 degrees of freedom lies below the first bound in 99.9 % of cases and above
  // the second in as many; no class is away from its mean by five deviations.
  const double p = 6.0 / 53, mean = steps * p, deviation = std::sqrt(steps * p * (1 - p));
  double chi2 = 0;
  for (const double count : counts) {
    EXPECT_NEAR(count, mean, 5 * deviation);
    chi2 += (count - mean) * (count - mean) / (deviation * deviation);
  }
  EXPECT_LT(chi2, 89.3);
  EXPECT_GT(chi2, 24.7);
}

TEST(BlockSampling, DrawsOneBlockFromEachStratumAndRotatesThem) {
  // 10 strata of 10 blocks, as DrawsOneClassFromEachStratum; the rotation moves their bounds.
  const ClassSampler sampler({0.1, Sampling::kBlocks, 6}, ClassShard(800, 0, 1));
  std::set<std::int64_t> offsets;
  for (std::int64_t step = 0; step < 400; ++step) {
    const StratifiedDraw draw = sampler.draw(step, {}).drawn;
    offsets.insert(draw.offset);
    const auto block = [&](std::int64_t i) { return draw.row(i * 8).v / 8; };
    ASSERT_EQ(draw.count(), 80);
    for (std::int64_t i = 0; i < 10; ++i)
      EXPECT_LT((i < 9 ? block(i + 1) : block(0) + 100) - block(i), 20);
  }
  EXPECT_GT(offsets.size(), 90u);  // of 100
}

TEST(BlockSampling, APositiveWhoseBlockWasNotDrawnJoinsAlone) {
  const ClassShard shard(1003, 0, 1);
  const ClassSampler sampler({0.1, Sampling::kBlocks, 3}, shard);
  const auto labels = some_labels(1003, 64, 2);
  for (std::int64_t step = 0; step < 20; ++step) {
    auto want = draw_over_ranks({0.1, Sampling::kBlocks, 3}, 1003, 1, step, {});
    for (const GlobalClass label : labels) want.push_back(label.v);
    std::ranges::sort(want);
    want.erase(std::unique(want.begin(), want.end()), want.end());
    EXPECT_EQ(draw_over_ranks({0.1, Sampling::kBlocks, 3}, 1003, 1, step, labels), want);
  }
}

TEST(BlockSampling, HoldsNoMoreThanMostRowsWhereverRanksCutBlocks) {
  for (const std::int64_t classes : {9, 100, 1003}) {
    for (const double rate : {0.01, 0.1, 0.5, 0.99}) {
      for (const int world : {2, 7, 9}) {
        for (int rank = 0; rank < world; ++rank) {
          const ClassSampler sampler({rate, Sampling::kBlocks, 1},
                                     ClassShard(classes, rank, world));
          for (std::int64_t step = 0; step < 50; ++step)
            ASSERT_LE(sampler.draw(step, {}).count(), sampler.most_rows(0));
        }
      }
    }
  }
}

TEST(BlockSampling, CostsNoMoreWhereThereAreAHundredMillionClasses) {
  // Nothing here is of the size of the table: at a rate of 0.1 a list would have ten million rows.
  const ClassShard shard(100'000'003, 1, 3);
  const ClassSampler sampler({0.1, Sampling::kBlocks, 1}, shard);
  const auto labels = some_labels(shard.classes(), 128, 1);
  for (std::int64_t step = 0; step < 100; ++step) {
    const SampledClasses drawn = sampler.draw(step, labels);
    EXPECT_NEAR(static_cast<double>(drawn.count()), 100'000'003 / 30.0, 200);
    std::vector<LocalRow> part(1000);
    drawn.list(drawn.count() - 1000, part);
    EXPECT_TRUE(std::ranges::is_sorted(part));
    EXPECT_LT(part.back().v, shard.rows());
  }
}

TEST(ClassSampler, DrawsOneClassFromEachStratum) {
  // 10 strata of 10 classes, rotated by an offset: successive classes differ by less than two
  // strata.
  const ClassSampler sampler({0.1, Sampling::kStratified, 6}, ClassShard(100, 0, 1));
  for (std::int64_t step = 0; step < 50; ++step) {
    const auto rows = sampler.draw(step, {}).rows();
    ASSERT_EQ(rows.size(), 10u);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::int64_t next = i + 1 < rows.size() ? rows[i + 1].v : rows[0].v + 100;
      EXPECT_LT(next - rows[i].v, 20);
    }
  }
}

TEST(ClassSampler, RateOneIsEveryClassAndRateZeroPositivesOnly) {
  const std::vector<GlobalClass> labels = {{3}, {9}, {3}};
  EXPECT_EQ(
      ClassSampler({1.0, Sampling::kStratified, 0}, ClassShard(10, 0, 1)).draw(0, labels).count(),
      10);
  const auto positives =
      ClassSampler({0.0, Sampling::kStratified, 0}, ClassShard(10, 0, 1)).draw(0, labels);
  EXPECT_EQ(positives.rows(), (std::vector<LocalRow>{{3}, {9}}));
  EXPECT_EQ(positives.targets, (std::vector<SampledPlace>{{0}, {1}, {0}}));
}

TEST(ClassSampler, RefusesARateThatIsNoShare) {
  for (const double rate : {-0.1, 1.1, std::nan("")}) {
    EXPECT_THROW(ClassSampler({rate, Sampling::kStratified, 0}, ClassShard(10, 0, 1)), Error);
  }
}

}  // namespace
}  // namespace pfc
