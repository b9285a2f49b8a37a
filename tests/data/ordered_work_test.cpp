#include "data/ordered_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>

#include "pfc/base/error.h"

namespace pfc {
namespace {

TEST(OrderedWork, TakesEverythingInOrderWhateverTheThreads) {
  for (const int threads : {1, 4}) {
    std::vector<std::int64_t> taken;
    ordered_work(
        1000, threads, [](std::int64_t i) { return i * i; },
        [&](std::int64_t i, std::int64_t made) {
          EXPECT_EQ(made, i * i);
          taken.push_back(i);
        });
    EXPECT_EQ(taken.size(), 1000u);
    EXPECT_TRUE(std::is_sorted(taken.begin(), taken.end()));
  }
}

TEST(OrderedWork, ThrowsWhatAThreadThrew) {
  const auto make = [](std::int64_t i) {
    if (i == 300) throw Error("image 300");
    return i;
  };
  std::int64_t taken = 0;
  EXPECT_THROW(ordered_work(1000, 3, make, [&](std::int64_t, std::int64_t) { ++taken; }), Error);
  EXPECT_EQ(taken, 300);
}

TEST(OrderedWork, TakesEachAsSoonAsItIsMade) {
  std::promise<void> first_was_taken;
  const auto seen = first_was_taken.get_future().share();
  const auto make = [&](std::int64_t i) {
    return i == 0 || seen.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  };
  ordered_work(2, 1, make, [&](std::int64_t i, bool was_taken) {
    EXPECT_TRUE(was_taken) << "the second began when the first had been taken";
    if (i == 0) first_was_taken.set_value();
  });
}

TEST(OrderedWork, BeginsNothingMoreWhereTakingThrows) {
  std::atomic<int> made = 0;
  const auto make = [&](std::int64_t) { return ++made; };
  const auto take = [](std::int64_t, int) { throw Error("stopped"); };
  EXPECT_THROW(ordered_work(100'000, 3, make, take), Error);
  EXPECT_LT(made, 1000);
}

}  // namespace
}  // namespace pfc
