// Runs what must hold of every communicator on ranks of this one, and what it says itself when a
// rank is missing.
//
//   theorems RANKS
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <pfc/base/error.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "ranks.h"
#include "star_communicator.h"

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

pfc::Communicator* g_comm = nullptr;

TEST(StarCommunicator, ARankThatNeverArrivesIsReportedWithRankAndCall) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  StarCommunicator waiting(0, {-1, ends[0]}, std::chrono::milliseconds(20));
  EXPECT_THAT([&] { waiting.barrier(); },
              ThrowsMessage<pfc::Error>(AllOf(HasSubstr("rank 0: "), HasSubstr("barrier (call 1)"),
                                              HasSubstr("rank 1 did not join: timed out"))));
  ::close(ends[1]);
  EXPECT_THAT([&] { waiting.barrier(); }, ThrowsMessage<pfc::Error>(HasSubstr("rank 1 did not")));
  ::close(ends[0]);
}

}  // namespace

void pfc::on_all_back_ends(const std::function<void(Communicator& comm)>& body) {
  body(*g_comm);
}

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  return on_processes(std::atoi(argv[1]), [](pfc::Communicator& comm) {
    at::set_num_threads(1);
    g_comm = &comm;
    return RUN_ALL_TESTS();
  });
}
