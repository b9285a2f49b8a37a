// What holds of every communicator. It needs public headers and `on_all_back_ends` alone, so a
// communicator that is written elsewhere can be tested by it (docs/extending.md).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/comm/communicator.h"
#include "pfc/comm/placement.h"
#include "ranks.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

at::Tensor of_rank(int rank, at::IntArrayRef sizes, at::ScalarType type = at::kFloat) {
  const std::int64_t size = c10::multiply_integers(sizes);
  return (torch::arange(size) % 50 + 10 * rank).view(sizes).to(type);
}

TEST(RanksCommunicator, AllGatherPutsTheRanksInOrder) {
  on_all_back_ends([](Communicator& comm) {
    for (const auto type : {at::kFloat, at::kDouble, at::kLong, at::kByte, at::kBFloat16}) {
      const at::Tensor all = comm.all_gather(of_rank(comm.rank(), {3, 5}, type)).wait();
      std::vector<at::Tensor> want;
      for (int rank = 0; rank < comm.world(); ++rank) want.push_back(of_rank(rank, {3, 5}, type));
      EXPECT_TRUE(all.equal(at::cat(want))) << type;
    }
  });
}

TEST(RanksCommunicator, ReduceScatterGivesEachRankItsPartOfTheSum) {
  on_all_back_ends([](Communicator& comm) {
    for (const auto type : {at::kFloat, at::kDouble, at::kLong}) {
      const std::int64_t rows = 2 * comm.world();
      at::Tensor sum = torch::zeros({rows, 3}, type);
      for (int rank = 0; rank < comm.world(); ++rank) sum += of_rank(rank, {rows, 3}, type);
      const at::Tensor part = comm.reduce_scatter(of_rank(comm.rank(), {rows, 3}, type)).wait();
      EXPECT_TRUE(part.equal(sum.narrow(0, 2 * comm.rank(), 2))) << type;
    }
  });
}

TEST(RanksCommunicator, AllReduceSumsInPlace) {
  on_all_back_ends([](Communicator& comm) {
    for (const auto type : {at::kFloat, at::kDouble, at::kLong}) {
      at::Tensor tensor = of_rank(comm.rank(), {70'000}, type);
      at::Tensor sum = torch::zeros({70'000}, type);
      for (int rank = 0; rank < comm.world(); ++rank) sum += of_rank(rank, {70'000}, type);
      comm.all_reduce(tensor).wait();
      EXPECT_TRUE(tensor.equal(sum)) << type;
    }
  });
}

TEST(RanksCommunicator, BroadcastGivesTheFirstRanksValuesAlsoOfAScalar) {
  on_all_back_ends([](Communicator& comm) {
    at::Tensor tensor = of_rank(comm.rank(), {4}), scalar = torch::tensor(comm.rank(), at::kLong);
    comm.broadcast(tensor).wait();
    comm.broadcast(scalar).wait();
    EXPECT_TRUE(tensor.equal(of_rank(0, {4})));
    EXPECT_EQ(scalar.item<std::int64_t>(), 0);
  });
}

TEST(RanksCommunicator, SeveralCollectivesMayBeUnderWayAtOnce) {
  on_all_back_ends([](Communicator& comm) {
    std::vector<at::Tensor> tensors;
    std::vector<Pending> pending;
    for (int i = 0; i < 8; ++i) {
      tensors.push_back(torch::full({1000}, comm.rank() + i, at::kFloat));
      pending.push_back(comm.all_reduce(tensors.back()));
      pending.front().poll();
    }
    comm.barrier();
    const int ranks = comm.world() * (comm.world() - 1) / 2;
    for (int i = 7; i >= 0; --i) {
      pending[static_cast<std::size_t>(i)].wait();
      EXPECT_EQ(tensors[static_cast<std::size_t>(i)][999].item<float>(),
                static_cast<float>(ranks + i * comm.world()));
    }
  });
}

TEST(RanksCommunicator, ADroppedCollectiveIsStillJoined) {
  on_all_back_ends([](Communicator& comm) {
    at::Tensor tensor = torch::ones({10});
    { const Pending dropped = comm.all_reduce(tensor); }
    EXPECT_EQ(tensor[0].item<float>(), static_cast<float>(comm.world()));
  });
}

TEST(RanksCommunicator, CountsWhatARingWouldSend) {
  on_all_back_ends([](Communicator& comm) {
    const std::int64_t world = comm.world();
    const TrafficByCollective before = comm.traffic();
    at::Tensor tensor = torch::zeros({12, 25});  // 1,200 bytes
    comm.all_gather(tensor).wait();
    comm.reduce_scatter(tensor).wait();
    comm.all_reduce(tensor).wait();
    comm.broadcast(tensor).wait();
    comm.barrier();
    const std::array<std::int64_t, 5> want = {1200 * (world - 1), 1200 * (world - 1) / world,
                                              2400 * (world - 1) / world,
                                              1200 * (world - 1) / world, 0};
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(comm.traffic()[i].bytes - before[i].bytes, want[i]) << name_of(kCollectives[i]);
      EXPECT_EQ(comm.traffic()[i].calls - before[i].calls, 1) << name_of(kCollectives[i]);
    }
  });
}

TEST(RanksCommunicator, RefusesATensorThatIsNotContiguous) {
  on_all_back_ends([](Communicator& comm) {
    EXPECT_THAT(
        [&] {
          (void)comm.all_gather(torch::zeros({3, 4}).t());
        },
        ThrowsMessage<Error>(HasSubstr("all_gather of Float [4, 3]")));
  });
}

TEST(RanksCommunicator, RefusesAReduceScatterThatDoesNotDivide) {
  on_all_back_ends([](Communicator& comm) {
    if (comm.world() == 1) return;
    EXPECT_THAT(
        [&] {
          (void)comm.reduce_scatter(torch::zeros({comm.world() + 1, 2}));
        },
        ThrowsMessage<Error>(testing::AllOf(
            HasSubstr("rank " + std::to_string(comm.rank()) + ": reduce_scatter of Float"),
            HasSubstr("does not divide over"))));
  });
}

// The build for tests compares every call over the ranks.
TEST(RanksCommunicator, CallsThatDifferThrowOnAllRanksNamingRankAndCall) {
  on_all_back_ends([](Communicator& comm) {
    if (comm.world() == 1) return;
    const bool last = comm.rank() == comm.world() - 1;
    const std::string rank = "rank " + std::to_string(comm.world() - 1);
    EXPECT_THAT(
        [&] {
          (void)comm.all_gather(torch::zeros({last ? 3 : 2, 4}));
        },
        ThrowsMessage<Error>(
            testing::AllOf(HasSubstr(rank + " called all_gather of Float [3, 4]"),
                           HasSubstr("where rank 0 called all_gather of Float [2, 4]"))));
    at::Tensor tensor = torch::zeros({4}, last ? at::kDouble : at::kFloat);
    EXPECT_THAT([&] { (void)comm.all_reduce(tensor); },
                ThrowsMessage<Error>(HasSubstr(rank + " called all_reduce of Double [4]")));
    EXPECT_THAT(
        [&] {
          if (last) {
            (void)comm.broadcast(tensor);
          } else {
            (void)comm.all_reduce(tensor);
          }
        },
        ThrowsMessage<Error>(HasSubstr(rank + " called broadcast of Double [4]")));
  });
}

TEST(RanksCommunicator, RanksKnowWhichOthersShareTheirMachine) {
  on_all_back_ends([](Communicator& comm) {
    const Placement place = place_ranks(comm);
    EXPECT_EQ(place.machines, 1);
    EXPECT_EQ(place.local_rank, comm.rank());
    EXPECT_EQ(place.local_world, comm.world());
    EXPECT_GE(place.threads(), 1);
    EXPECT_LE(place.threads(), std::max(1, place.cores / comm.world()));
  });
}
}  // namespace
}  // namespace pfc
