#include "pfc/comm/process_group_communicator.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <thread>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

#include "comm/gloo_group.h"
#include "comm/gloo_ranks.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Group = c10::intrusive_ptr<c10d::ProcessGroup>;

/// The same values on every rank that asks for those of `rank`.
at::Tensor noise_of(int rank, at::IntArrayRef sizes) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(100 + rank);
  return torch::randn(sizes, generator);
}

Group group_of_one(milliseconds timeout = seconds(10)) {
  return make_gloo_group(c10::make_intrusive<c10d::HashStore>(), 0, 1, timeout);
}

TEST(ProcessGroupCommunicator, SumsAreTheSameOnAllRanksBitForBit) {
  run_gloo_ranks(4, [](Communicator& comm) {
    at::Tensor sum = noise_of(comm.rank(), {10'007});
    comm.all_reduce(sum).wait();
    const at::Tensor all = comm.all_gather(sum.view({1, -1})).wait();
    for (int rank = 1; rank < comm.world(); ++rank) EXPECT_TRUE(all[rank].equal(all[0]));
  });
}

TEST(ProcessGroupCommunicator, ReduceScatterAddsUpInTheOrderOfRanks) {
  run_gloo_ranks(4, [](Communicator& comm) {
    at::Tensor sum = noise_of(0, {8, 501});
    for (int rank = 1; rank < comm.world(); ++rank) sum += noise_of(rank, {8, 501});
    const at::Tensor mine = noise_of(comm.rank(), {8, 501}), before = mine.clone();
    const at::Tensor part = comm.reduce_scatter(mine).wait();
    EXPECT_TRUE(part.equal(sum.narrow(0, 2 * comm.rank(), 2)));
    EXPECT_TRUE(mine.equal(before));
  });
}

TEST(ProcessGroupCommunicator, ReduceScatterRoundsShortTypesOnce) {
  run_gloo_ranks(3, [](Communicator& comm) {
    for (const auto type : {at::kBFloat16, at::kHalf}) {
      at::Tensor sum = torch::zeros({3, 77});
      for (int rank = 0; rank < comm.world(); ++rank) sum += noise_of(rank, {3, 77}).to(type);
      const at::Tensor part = comm.reduce_scatter(noise_of(comm.rank(), {3, 77}).to(type)).wait();
      EXPECT_TRUE(part.equal(sum.narrow(0, comm.rank(), 1).to(type))) << type;
    }
  });
}

TEST(ProcessGroupCommunicator, MovesTypesThatItsBackEndLacks) {
  run_gloo_ranks(3, [](Communicator& comm) {
    for (const auto type : {at::kShort, at::kBool, at::kHalf, at::kComplexFloat}) {
      const at::Tensor all = comm.all_gather(torch::full({2}, comm.rank(), type)).wait();
      EXPECT_TRUE(all.equal(torch::arange(3).repeat_interleave(2).to(type))) << type;
      at::Tensor first = torch::full({2, 2}, comm.rank() + 1, type);
      comm.broadcast(first).wait();
      EXPECT_TRUE(first.equal(torch::ones({2, 2}, type))) << type;
    }
  });
}

TEST(ProcessGroupCommunicator, ATypeThatItsBackEndCannotAddUpIsNamed) {
  run_gloo_ranks(2, [](Communicator& comm) {
    at::Tensor tensor = torch::ones({2}, at::kShort);
    EXPECT_THAT([&] { comm.all_reduce(tensor).wait(); },
                ThrowsMessage<Error>(HasSubstr("all_reduce of Short [2]")));
  });
}

TEST(ProcessGroupCommunicator, CollectivesOverNothingHaveTheirShapes) {
  run_gloo_ranks(3, [](Communicator& comm) {
    at::Tensor nothing = torch::zeros({0, 4});
    EXPECT_EQ(comm.all_gather(torch::zeros({2, 0})).wait().sizes(), at::IntArrayRef({6, 0}));
    EXPECT_EQ(comm.reduce_scatter(torch::zeros({6, 0})).wait().sizes(), at::IntArrayRef({2, 0}));
    comm.all_reduce(nothing).wait();
    comm.broadcast(nothing).wait();
    EXPECT_EQ(nothing.sizes(), at::IntArrayRef({0, 4}));
  });
}

TEST(ProcessGroupCommunicator, TensorsWithGradientsAreExchangedWithoutThem) {
  run_gloo_ranks(2, [](Communicator& comm) {
    const at::Tensor local = torch::ones({2, 3}, at::requires_grad());
    EXPECT_FALSE(comm.all_gather(local).wait().requires_grad());
    EXPECT_FALSE(comm.reduce_scatter(local).wait().requires_grad());
  });
}

TEST(ProcessGroupCommunicator, ARankThatDoesNotComeIsReportedAfterTheTimeout) {
  const c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::HashStore>();
  Group idle;
  std::thread other([&] { idle = make_gloo_group(store, 1, 2, seconds(1)); });
  const auto comm = make_process_group_communicator(make_gloo_group(store, 0, 2, seconds(1)));
  other.join();
  at::Tensor tensor = torch::zeros({3});
  EXPECT_THAT([&] { comm->all_reduce(tensor).wait(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("rank 0: "),
                                         HasSubstr("all_reduce of Float [3] (call 1)"),
                                         HasSubstr("not joined by all ranks within 1 s"))));
}

TEST(ProcessGroupCommunicator, ARankThatEndsIsLostToTheOthersAtOnce) {
  run_gloo_ranks(
      3,
      [](Communicator& comm) {
        comm.barrier();
        if (comm.rank() == 1) return;
        const auto start = std::chrono::steady_clock::now();
        at::Tensor tensor = torch::zeros({3});
        EXPECT_THAT([&] { comm.all_reduce(tensor).wait(); },
                    ThrowsMessage<RankLost>(AllOf(HasSubstr("rank " + std::to_string(comm.rank())),
                                                  HasSubstr("all_reduce of Float [3] (call 2)"),
                                                  HasSubstr("another rank has ended"))));
        EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(20));
      },
      seconds(30));
}

TEST(ProcessGroupCommunicator, ARankThatFailsDoesNotWaitForTheOthers) {
  const c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::HashStore>();
  Group idle;
  std::thread other([&] { idle = make_gloo_group(store, 1, 2, seconds(60)); });
  Group group = make_gloo_group(store, 0, 2, seconds(60));
  other.join();
  std::vector<at::Tensor> never_summed = {torch::zeros({3})};
  const auto under_way = group->allreduce(never_summed);
  const auto start = std::chrono::steady_clock::now();
  const auto fail = [&] {
    const auto comm = make_process_group_communicator(std::move(group));
    throw Error("had enough");
  };
  EXPECT_THAT(fail, ThrowsMessage<Error>("had enough"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(20));
}

TEST(ProcessGroupCommunicator, AGroupThatWasDestroyedIsToldInOneSentence) {
  const Group group = group_of_one();
  group->setGroupName("faces");
  c10d::register_process_group("faces", group);
  const auto comm = make_process_group_communicator(group);
  at::Tensor tensor = torch::ones({1});
  comm->all_reduce(tensor).wait();
  c10d::unregister_process_group("faces");
  const auto told = ThrowsMessage<Error>(HasSubstr("its process group was destroyed"));
  EXPECT_THAT([&] { (void)comm->all_reduce(tensor); }, told);
  EXPECT_THAT([&] { comm->barrier(); }, told);

  const Group successor = group_of_one();
  successor->setGroupName("faces");
  c10d::register_process_group("faces", successor);
  EXPECT_THAT([&] { (void)comm->all_reduce(tensor); }, told);
  c10d::unregister_process_group("faces");
}

TEST(ProcessGroupCommunicator, WithoutAGroupItSaysSo) {
  EXPECT_THAT([] { make_process_group_communicator(nullptr); },
              ThrowsMessage<Error>(HasSubstr("there is no process group")));
}

}  // namespace
}  // namespace pfc
