#include "pfc/comm/nccl_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"

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

TEST(NcclCommunicator, WithoutAGpuItSaysSo) {
  if (gpus() > 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(
      [] { make_nccl_communicator(meeting_at(29511), nullptr, std::chrono::seconds(5), end_with); },
      ThrowsMessage<Error>(HasSubstr("found no GPU on its machine")));
}

TEST(NcclCommunicator, ItsCollectivesAreTheOthers) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  const auto comm =
      make_nccl_communicator(meeting_at(29512), nullptr, std::chrono::seconds(60), end_with);
  const std::int64_t rank = comm->rank(), world = comm->world();
  const at::Tensor first = torch::arange(6 * world, at::kFloat).view({2 * world, 3}).cuda();
  const auto of_rank = [&](std::int64_t r) { return at::Tensor(first + 100 * r); };
  std::vector<at::Tensor> all;
  for (std::int64_t r = 0; r < world; ++r) all.push_back(of_rank(r));
  const at::Tensor gathered = at::cat(all), sum = at::stack(all).sum(0);

  at::Tensor values = of_rank(rank);
  EXPECT_TRUE(comm->all_gather(values).wait().equal(gathered));
  EXPECT_TRUE(comm->reduce_scatter(values).wait().equal(sum.narrow(0, 2 * rank, 2)));
  EXPECT_TRUE(comm->all_gather(values.cpu()).wait().equal(gathered.cpu()));
  comm->all_reduce(values).wait();
  EXPECT_TRUE(values.equal(sum));
  values.add_(rank);
  comm->broadcast(values).wait();
  EXPECT_TRUE(values.equal(sum));
  comm->barrier();
}

/// A rank that announces its GPU and then goes no further.
void tell_gpu_and_stay_away(int port, const GpuId& id) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(port);
  options.waitWorkers = false;
  c10d::TCPStore store("127.0.0.1", options);
  store.set("pfc/0/gpu/1", {id.begin(), id.end()});
}

Launch first_of_two(int port) {
  return {.way = Launch::Way::kRendezvous, .world = 2, .address = "127.0.0.1", .port = port};
}

TEST(NcclCommunicatorDeathTest, AStartThatARankDoesNotJoinEndsWithASentence) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::jthread other([] { tell_gpu_and_stay_away(29513, {'o', 't', 'h', 'e', 'r'}); });
        make_nccl_communicator(first_of_two(29513), nullptr, std::chrono::seconds(2), end_with);
      },
      testing::ExitedWithCode(1),
      "rank 0: the start of NCCL was not joined by all ranks within 2 s");
}

TEST(NcclCommunicator, TwoRanksOnOneGpuAreRefused) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  std::jthread other([] { tell_gpu_and_stay_away(29514, gpu_properties(0).id); });
  EXPECT_THAT(
      [] {
        make_nccl_communicator(first_of_two(29514), nullptr, std::chrono::seconds(20), end_with);
      },
      ThrowsMessage<Error>(HasSubstr("1 of 2 ranks found no GPU of their own")));
}

TEST(NcclCommunicator, ARankThatNobodyServesSaysWhereItLooked) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  Launch launch = first_of_two(29515);
  launch.rank = 1;
  EXPECT_THAT(
      [&] { make_nccl_communicator(launch, nullptr, std::chrono::seconds(1), end_with); },
      ThrowsMessage<Error>(HasSubstr("rank 1: did not meet the other ranks at 127.0.0.1:29515")));
}

}  // namespace
}  // namespace pfc
