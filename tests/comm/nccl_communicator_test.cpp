#include "comm/nccl_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <vector>

#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// The ranks of this machine as torchrun starts them, whoever did.
Launch meeting_at(int port) {
  Launch launch = find_launch();
  launch.way = Launch::Way::kRendezvous;
  launch.address = "127.0.0.1";
  launch.port = port;
  return launch;
}

TEST(NcclCommunicator, WithoutAGpuItSaysSo) {
  if (gpus() > 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT([] { make_nccl_communicator(meeting_at(29511), nullptr, std::chrono::seconds(5)); },
              ThrowsMessage<Error>(HasSubstr("wants GPU 0 of this machine, found 0")));
}

TEST(NcclCommunicator, ItsCollectivesAreTheOthers) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  const auto comm = make_nccl_communicator(meeting_at(29512), nullptr, std::chrono::seconds(60));
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

}  // namespace
}  // namespace pfc
