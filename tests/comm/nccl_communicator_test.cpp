#include "pfc/comm/nccl_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "comm/gloo_communicator.h"
#include "comm/two_ranks.h"
#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/join_ranks.h"
#include "pfc/comm/placement.h"
#include "pfc/comm/staged_communicator.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// The ranks of this machine as torchrun would start them.
Launch meeting_at(int port) {
  Launch launch = find_launch();
  launch.way = Launch::Way::kRendezvous;
  launch.address = "127.0.0.1";
  launch.port = port;
  return launch;
}

void end_with(const std::string& sentence) {
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::_Exit(1);
}

std::unique_ptr<Communicator> over_nccl(const Launch& launch, std::chrono::seconds timeout) {
  return make_nccl_communicator(launch, make_gloo_communicator(launch, timeout), timeout, end_with);
}

TEST(NcclCommunicator, WithoutAGpuItSaysSo) {
  if (gpus() > 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(
      [] {
        make_nccl_communicator({}, make_self_communicator(), std::chrono::seconds(5), end_with);
      },
      ThrowsMessage<Error>(testing::AnyOf(HasSubstr("found no GPU on its machine"),
                                          HasSubstr("built without CUDA"))));
}

void expect_collectives(Communicator& comm) {
  const std::int64_t rank = comm.rank(), world = comm.world();
  const at::Tensor first = torch::arange(6 * world, at::kFloat).view({2 * world, 3}).cuda();
  const auto of_rank = [&](std::int64_t r) { return at::Tensor(first + 100 * r); };
  std::vector<at::Tensor> all;
  for (std::int64_t r = 0; r < world; ++r) all.push_back(of_rank(r));
  const at::Tensor gathered = at::cat(all), sum = at::stack(all).sum(0);

  at::Tensor values = of_rank(rank);
  EXPECT_TRUE(comm.all_gather(values).wait().equal(gathered));
  EXPECT_TRUE(comm.reduce_scatter(values).wait().equal(sum.narrow(0, 2 * rank, 2)));
  EXPECT_TRUE(comm.all_gather(values.cpu()).wait().equal(gathered.cpu()));
  comm.all_reduce(values).wait();
  EXPECT_TRUE(values.equal(sum));
  values.add_(rank);
  comm.broadcast(values).wait();
  EXPECT_TRUE(values.equal(sum));
  comm.barrier();
}

TEST(NcclCommunicator, ItsCollectivesAreTheOthers) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  expect_collectives(*over_nccl(meeting_at(29512), std::chrono::seconds(60)));
}

TEST(StagedCommunicator, ItsCollectivesAreTheOthersWhicheverGpuARankHas) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU";
  const Launch launch = meeting_at(29515);
  const auto number = static_cast<c10::DeviceIndex>(gpu_of(launch.local_rank));
  expect_collectives(*make_staged_communicator(
      make_gloo_communicator(launch, std::chrono::seconds(60)), {at::kCUDA, number}));
}

TEST(NcclCommunicatorDeathTest, AStartThatARankDoesNotJoinEndsWithASentence) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::jthread other([] {
          const auto comm = make_gloo_communicator(of_two(1, 29513), std::chrono::seconds(60));
          at::Tensor id = at::empty({128}, at::kByte);  // by which it could join
          comm->broadcast(id).wait();
          std::this_thread::sleep_for(std::chrono::seconds(60));
        });
        auto host = make_gloo_communicator(of_two(0, 29513), std::chrono::seconds(60));
        make_nccl_communicator(of_two(0, 29513), std::move(host), std::chrono::seconds(2),
                               end_with);
      },
      testing::ExitedWithCode(1),
      "rank 0: the start of NCCL was not joined by all ranks within 2 s");
}

TEST(JoinRanks, RanksThatFindOneGpuShareIt) {
  if (gpus() != 1) GTEST_SKIP() << "it wants one GPU";
  const auto join = [](int rank) {
    const auto comm =
        join_ranks(of_two(rank, 29514), UseGpus::kWhereThereAre, std::chrono::seconds(20));
    EXPECT_TRUE(comm->device().is_cuda());
    EXPECT_EQ(place_ranks(*comm).ranks_on_gpu, 2);
    at::Tensor tensor = torch::full({3}, 5 + rank, comm->device());
    EXPECT_EQ(comm->all_reduce(tensor).wait().sum().item<int>(), 3 * 11);
  };
  std::jthread other(join, 1);
  join(0);
}

}  // namespace
}  // namespace pfc
