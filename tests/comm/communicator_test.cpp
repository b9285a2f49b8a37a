#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "comm/thread_communicator.h"
#include "comm/two_ranks.h"
#include "pfc/base/error.h"
#include "pfc/comm/join_ranks.h"
#include "pfc/comm/placement.h"
#include "ranks.h"

namespace pfc {

/// On threads or processes, as all tests of ranks. Over gloo they are processes alone (torchrun):
/// LibTorch does not expect several ranks in one process, and with threads its heap was damaged
/// once in some hundred runs.
void on_all_back_ends(const std::function<void(Communicator& comm)>& body) {
  on_ranks(body);
}

namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(JoinRanks, RanksThatMeetAtAnAddressWorkOnCpus) {
  constexpr int kPort = 29521;
  std::jthread other([] {
    const auto comm = join_ranks(of_two(1, kPort), UseGpus::kNever, std::chrono::seconds(60));
    comm->all_gather(torch::full({1}, 7)).wait();
  });
  const auto comm = join_ranks(of_two(0, kPort), UseGpus::kNever, std::chrono::seconds(60));
  EXPECT_TRUE(comm->device().is_cpu());
  EXPECT_EQ(comm->world(), 2);
  EXPECT_TRUE(comm->all_gather(torch::full({1}, 5)).wait().equal(torch::tensor({5, 7})));
}

TEST(JoinRanks, ARankThatNobodyServesSaysWhereItLooked) {
  EXPECT_THAT([] { join_ranks(of_two(1, 29522), UseGpus::kNever, std::chrono::seconds(1)); },
              ThrowsMessage<Error>(HasSubstr(
                  "rank 1: did not meet the other ranks at 127.0.0.1:29522, where rank 0")));
}

TEST(JoinRanks, ARankThatIsAwaitedInVainIsToldAsOne) {
  EXPECT_THAT([] { join_ranks(of_two(0, 29523), UseGpus::kNever, std::chrono::seconds(1)); },
              ThrowsMessage<Error>(HasSubstr("rank 0: did not meet the other ranks at")));
}

TEST(Placement, ARankComputesOnTheThreadsItIsGivenOrOnItsShareOfTheCores) {
  const int before = at::get_num_threads();
  const char* const variable = std::getenv("OMP_NUM_THREADS");
  const std::string kept = variable == nullptr ? "" : variable;
  const Placement placement{.local_world = 2, .cores = 6};
  ::unsetenv("OMP_NUM_THREADS");
  set_threads(0, placement);
  EXPECT_EQ(at::get_num_threads(), 3);
  set_threads(2, placement);
  EXPECT_EQ(at::get_num_threads(), 2);
  ::setenv("OMP_NUM_THREADS", "2", 1);  // too late: the run time has read its environment
  set_threads(0, placement);
  EXPECT_EQ(at::get_num_threads(), 2);
  if (variable == nullptr) ::unsetenv("OMP_NUM_THREADS");
  if (variable != nullptr) ::setenv("OMP_NUM_THREADS", kept.c_str(), 1);
  at::set_num_threads(before);
}

TEST(ThreadCommunicator, ARankThatThrowsReleasesTheOthersAndIsTheOneThatIsShown) {
  EXPECT_THAT(
      [] {
        run_ranks(3, [](Communicator& comm) {
          if (comm.rank() == 1) throw Error("rank 1 had enough");
          comm.barrier();
        });
      },
      ThrowsMessage<Error>("rank 1 had enough"));
}

TEST(ThreadCommunicator, ARankThatNeverArrivesIsReportedAfterTheTimeout) {
  EXPECT_THAT(
      [] {
        run_ranks(
            2,
            [](Communicator& comm) {
              if (comm.rank() == 0) comm.barrier();
            },
            std::chrono::milliseconds(20));
      },
      ThrowsMessage<Error>(testing::AllOf(HasSubstr("rank 0: "), HasSubstr("barrier (call 1)"),
                                          HasSubstr("not joined by all ranks within 20 ms"))));
}

}  // namespace
}  // namespace pfc
