#include "pfc/plan/step_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<std::int32_t> labels_of(int images, int classes) {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < images; ++i) labels.push_back(i % classes);
  return labels;
}

ClassSampler sampler_of(std::int64_t classes, int rank = 0, int world = 1) {
  return ClassSampler({0.1, Sampling::kStratified, 1}, ClassShard(classes, rank, world));
}

TEST(StepPlanner, SeesEveryImageOnceAnEpoch) {
  const auto labels = labels_of(103, 10);
  const StepPlanner planner({.seed = 3, .batch_size = 10}, labels, sampler_of(10));
  std::vector<std::int64_t> stream;
  for (std::int64_t step = 0; step < 31; ++step) {
    const StepPlan plan = planner.at(step);
    EXPECT_EQ(plan.images.size(), 10u);  // a batch straddles epochs: shapes never change
    stream.insert(stream.end(), plan.images.begin(), plan.images.end());
  }
  for (std::ptrdiff_t epoch = 0; epoch < 3; ++epoch) {
    const std::set<std::int64_t> seen(stream.begin() + 103 * epoch,
                                      stream.begin() + 103 * (epoch + 1));
    EXPECT_EQ(seen.size(), 103u);
  }
  EXPECT_FALSE(std::equal(stream.begin(), stream.begin() + 103, stream.begin() + 103));
}

TEST(StepPlanner, SeesEveryImageOnceAnEpochInWindows) {
  const auto labels = labels_of(5000, 10);
  const StepPlanner planner({.seed = 3, .batch_size = 100, .window = 1024}, labels, sampler_of(10));
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::set<std::int64_t> seen;
    for (std::int64_t step = 50 * epoch; step < 50 * epoch + 50; ++step) {
      const StepPlan plan = planner.at(step);
      seen.insert(plan.images.begin(), plan.images.end());
    }
    EXPECT_EQ(seen.size(), 5000u);
  }
  const std::vector<std::int64_t> first = planner.at(0).images;
  const auto [least, most] = std::ranges::minmax(first);
  EXPECT_TRUE(most - least < 1024 ||
              most - least > 5000 - 1024);  // one block, or one around the end
}

TEST(StepPlanner, IsAPureFunctionOfSeedAndStep) {
  const auto labels = labels_of(50, 5);
  const StepPlanner one({.seed = 3, .batch_size = 8}, labels, sampler_of(5));
  const StepPlanner same({.seed = 3, .batch_size = 8}, labels, sampler_of(5));
  const StepPlanner other({.seed = 4, .batch_size = 8}, labels, sampler_of(5));
  (void)one.at(99);
  EXPECT_EQ(one.at(7).images, same.at(7).images);
  EXPECT_EQ(one.at(7).mirror, same.at(7).mirror);
  EXPECT_EQ(one.at(7).classes.rows(), same.at(7).classes.rows());
  EXPECT_NE(one.at(7).images, other.at(7).images);
}

TEST(StepPlanner, DoesNotDependOnTheRank) {
  const auto labels = labels_of(60, 12);
  const StepPlan alone = StepPlanner({.seed = 1, .batch_size = 12}, labels, sampler_of(12)).at(5);
  for (int rank = 0; rank < 3; ++rank) {
    const StepPlan plan =
        StepPlanner({.seed = 1, .batch_size = 12}, labels, sampler_of(12, rank, 3)).at(5);
    EXPECT_EQ(plan.images, alone.images);
    EXPECT_EQ(plan.labels, alone.labels);
    EXPECT_EQ(plan.mirror, alone.mirror);
  }
}

TEST(StepPlan, RanksShareEveryMicroBatch) {
  StepPlan plan;
  plan.images.resize(12);
  EXPECT_EQ(plan.place(0, 1, 7), 7u);
  EXPECT_EQ(plan.place(1, 3, 2), 6u);  // ranks take 0-3, 4-7, 8-11
  plan.micro_batches = 2;
  std::vector<std::size_t> second;
  for (std::size_t i = 0; i < 4; ++i) second.push_back(plan.place(1, 3, i));
  EXPECT_EQ(second, (std::vector<std::size_t>{2, 3, 8, 9}));  // of 0-5, then of 6-11
}

TEST(StepPlanner, LabelsBelongToTheImages) {
  const auto labels = labels_of(40, 7);
  const StepPlan plan = StepPlanner({.batch_size = 16}, labels, sampler_of(7)).at(2);
  for (std::size_t i = 0; i < 16; ++i)
    EXPECT_EQ(plan.labels[i].v, labels[static_cast<std::size_t>(plan.images[i])]);
}

TEST(StepPlanner, MirrorsHalfOfTheImages) {
  const auto labels = labels_of(1000, 10);
  int flipped = 0;
  const StepPlanner planner({.batch_size = 100}, labels, sampler_of(10));
  for (std::int64_t step = 0; step < 100; ++step) {
    for (const auto flip : planner.at(step).mirror) flipped += flip;
  }
  EXPECT_NEAR(flipped, 5000, 200);  // four standard deviations
  const StepPlan straight =
      StepPlanner({.batch_size = 100, .mirror = false}, labels, sampler_of(10)).at(0);
  EXPECT_EQ(straight.mirror, std::vector<std::uint8_t>(100));
}

TEST(StepPlanner, MayDrawABatchLargerThanTheSet) {
  const auto labels = labels_of(3, 3);
  const StepPlan plan = StepPlanner({.batch_size = 8}, labels, sampler_of(3)).at(0);
  EXPECT_EQ(plan.images.size(), 8u);
}

TEST(StepPlanner, CountsTheStepsOfEpochs) {
  const auto labels = labels_of(1000, 10);
  const StepPlanner planner({.batch_size = 128}, labels, sampler_of(10));
  EXPECT_EQ(planner.steps_in(1), 8);
  EXPECT_EQ(planner.steps_in(16), 125);
  EXPECT_EQ(planner.steps_in(0.5), 4);
}

TEST(StepPlanner, RefusesABatchThatDoesNotDivideNamingTheNearest) {
  const auto labels = labels_of(10, 10);
  EXPECT_THAT([&] { StepPlanner({.batch_size = 128}, labels, sampler_of(10, 0, 3)); },
              ThrowsMessage<Error>(HasSubstr("126 and 129")));
  EXPECT_THAT([&] { StepPlanner({.batch_size = 2}, labels, sampler_of(10, 0, 3)); },
              ThrowsMessage<Error>(HasSubstr("are 3")));
}

TEST(StepPlanner, RefusesALabelThatIsNoClass) {
  const std::vector<std::int32_t> labels = {0, 1, 5};
  EXPECT_THAT([&] { StepPlanner({.batch_size = 2}, labels, sampler_of(5)); },
              ThrowsMessage<Error>(HasSubstr("image 2 has the label 5")));
}

}  // namespace
}  // namespace pfc
