#include "comm/nccl_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// As torchrun starts it on a machine of its own.
Launch alone_at(int port) {
  return {.way = Launch::Way::kRendezvous, .address = "127.0.0.1", .port = port};
}

TEST(NcclCommunicator, WithoutAGpuItSaysSo) {
  if (gpus() > 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT([] { make_nccl_communicator(alone_at(29511), nullptr, std::chrono::seconds(5)); },
              ThrowsMessage<Error>(HasSubstr("wants GPU 0 of this machine, found 0")));
}

TEST(NcclCommunicator, ItsCollectivesAreTheOthers) {
  if (gpus() == 0) GTEST_SKIP() << "no GPU: NCCL is compiled and linked, not run";
  const auto comm = make_nccl_communicator(alone_at(29512), nullptr, std::chrono::seconds(60));
  const at::Tensor values = torch::arange(12, at::kFloat).view({4, 3}).cuda();
  EXPECT_TRUE(comm->all_gather(values).wait().equal(values));
  EXPECT_TRUE(comm->reduce_scatter(values).wait().equal(values));
  at::Tensor copy = values.clone();
  comm->all_reduce(copy).wait();
  comm->broadcast(copy).wait();
  comm->barrier();
  EXPECT_TRUE(copy.equal(values));
  const at::Tensor on_host = values.cpu();
  EXPECT_TRUE(comm->all_gather(on_host).wait().equal(on_host));
}

}  // namespace
}  // namespace pfc
