#include "pfc/comm/long_work.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "comm/thread_communicator.h"
#include "pfc/base/error.h"
#include "ranks.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(RanksLongWork, RunsOnEveryRankAsItsCallerWould) {
  on_ranks([](Communicator& comm) {
    const int threads = at::get_num_threads();
    const at::NoGradGuard no_gradients;
    bool ran = false;
    long_work(comm, [&] {
      EXPECT_EQ(at::get_num_threads(), threads);
      EXPECT_FALSE(at::GradMode::is_enabled());
      ran = true;
    });
    EXPECT_TRUE(ran);
  });
}

TEST(LongWork, MayLastLongerThanRanksWaitForOneAnother) {
  constexpr std::chrono::milliseconds kTimeout{500};
  std::atomic<bool> over = false;
  run_ranks(
      3,
      [&](Communicator& comm) {
        long_work(comm, [&] {
          if (comm.rank() != 1) return;
          std::this_thread::sleep_for(2 * kTimeout);
          over = true;
        });
        EXPECT_TRUE(over);
      },
      kTimeout);
}

TEST(LongWork, ARankThatIsSilentMeanwhileIsReported) {
  std::atomic<bool> ended = false;
  EXPECT_THAT(
      [&] {
        run_ranks(
            2,
            [&](Communicator& comm) {
              if (comm.rank() == 0) long_work(comm, [&] { ended = true; });
            },
            std::chrono::milliseconds(20));
      },
      ThrowsMessage<Error>(testing::AllOf(HasSubstr("rank 0: "), HasSubstr("all_reduce"),
                                          HasSubstr("not joined by all ranks within 20 ms"))));
  EXPECT_TRUE(ended);
}

TEST(LongWork, ThrowsWhatTheWorkThrewAndReleasesTheOthers) {
  EXPECT_THAT(
      [] {
        run_ranks(3, [](Communicator& comm) {
          long_work(comm, [&] {
            if (comm.rank() == 2) throw Error("rank 2 found no index");
          });
        });
      },
      ThrowsMessage<Error>("rank 2 found no index"));
}

}  // namespace
}  // namespace pfc
