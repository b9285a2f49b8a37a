#include "train/checkpoint_clock.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

using Clock = CheckpointClock::Clock;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Clock::time_point kStart{};

TEST(CheckpointClock, IsDueEverySoManyStepsAndAtTheEnd) {
  const CheckpointClock clock({.every = 5}, 12, kStart);
  for (std::int64_t done = 1; done <= 12; ++done)
    EXPECT_EQ(clock.due_after(done), done == 5 || done == 10 || done == 12) << done;
  EXPECT_FALSE(clock.due_at(kStart + minutes(100)));
}

TEST(CheckpointClock, IsDueAfterTenMinutesWithoutANumberOfSteps) {
  CheckpointClock clock({}, 1000, kStart);
  EXPECT_FALSE(clock.due_at(kStart + seconds(599)));
  EXPECT_TRUE(clock.due_at(kStart + seconds(600)));
  clock.saved(kStart + seconds(600), kStart + seconds(610));
  EXPECT_FALSE(clock.due_at(kStart + seconds(1200)));
  EXPECT_TRUE(clock.due_at(kStart + seconds(1210)));
}

TEST(CheckpointClock, LeavesATimeBetweenSlowCheckpointsThatIsTwentyTimesTheirs) {
  CheckpointClock clock({}, 1000, kStart);
  clock.saved(kStart, kStart + minutes(2));
  EXPECT_FALSE(clock.due_at(kStart + minutes(41)));
  EXPECT_TRUE(clock.due_at(kStart + minutes(42)));
}

TEST(CheckpointClock, IsDueWhereOneIsToBeKeptForGood) {
  const CheckpointClock clock({.every = 4, .keep_every = 6}, 100, kStart);
  for (std::int64_t done = 1; done < 24; ++done)
    EXPECT_EQ(clock.due_after(done), done % 4 == 0 || done % 6 == 0) << done;
}

}  // namespace
}  // namespace pfc
