// Ranks that share one GPU, as threads that each have a stream.
#include "pfc/comm/staged_communicator.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "head/gpu_memory.h"
#include "pfc/base/error.h"
#include "pfc/comm/placement.h"

namespace pfc {
namespace {

/// Somebody else's.
std::shared_ptr<Communicator> lent(Communicator& comm) {
  return {std::shared_ptr<void>(), &comm};
}

using Body = std::function<void(Communicator& comm)>;

void on_one_gpu(int world, const Body& body) {
  run_ranks(world, [&](Communicator& host) {
    const auto comm = make_staged_communicator(lent(host), kGpu);
    const c10::cuda::CUDAStreamGuard own(
        c10::cuda::getStreamFromPool(/*isHighPriority=*/false, kGpu.index()));
    body(*comm);
  });
}
void on_one_gpu(const Body& body) {
  for (const int world : {1, 2, 4}) {
    SCOPED_TRACE(world);
    on_one_gpu(world, body);
  }
}

at::Tensor of_rank(int rank, at::IntArrayRef sizes, at::ScalarType type) {
  const std::int64_t size = c10::multiply_integers(sizes);
  return (torch::arange(size) % 50 + 10 * rank).view(sizes).to(type);
}

TEST(StagedCommunicator, CarriesWhatIsOnTheGpuAsTheHostsCarriesWhatIsInItsMemory) {
  on_one_gpu([](Communicator& comm) {
    for (const auto type :
         {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kByte}) {
      const at::Tensor here = of_rank(comm.rank(), {4 * comm.world(), 7}, type);
      const at::Tensor there = here.to(kGpu);
      const auto expect = [&](const at::Tensor& found, const at::Tensor& want) {
        EXPECT_TRUE(found.is_cuda());
        EXPECT_TRUE(found.cpu().equal(want)) << type;
      };
      expect(comm.all_gather(there).wait(), comm.all_gather(here).wait());
      expect(comm.reduce_scatter(there).wait(), comm.reduce_scatter(here).wait());
      at::Tensor sum_here = here.clone(), sum_there = there.clone();
      expect(comm.all_reduce(sum_there).wait(), comm.all_reduce(sum_here).wait());
      at::Tensor first_here = here.clone(), first_there = there.clone();
      expect(comm.broadcast(first_there).wait(), comm.broadcast(first_here).wait());
    }
    at::Tensor scalar = at::full({}, comm.rank() + 7, on_gpu(at::kLong));
    comm.broadcast(scalar).wait();
    EXPECT_EQ(scalar.item<std::int64_t>(), 7);
  });
}

/// Streams of the simulated GPU work when they like.
TEST(StagedCommunicator, TakesWhatTheGpuHasYetToComputeAndGivesWhatItCanComputeWith) {
  constexpr std::int64_t kSteps = 20;
  on_one_gpu([](Communicator& comm) {
    const int ranks = comm.world() * (comm.world() - 1) / 2;  // the sum of their numbers
    const at::Tensor sums = at::zeros({1000}, on_gpu(at::kFloat)), gathered = sums.clone();
    for (std::int64_t step = 0; step < kSteps; ++step) {
      at::Tensor sum = at::empty({1000}, on_gpu(at::kFloat)), given = at::empty_like(sum);
      sum.fill_(comm.rank());
      sum.add_(step);
      Pending summed = comm.all_reduce(sum);
      given.fill_(comm.rank() + step);
      Pending all = comm.all_gather(given);
      given.reset();
      at::Tensor next = at::empty_like(sum);  // must not lie where `given` is still read
      next.fill_(-1);
      summed.poll();
      summed.wait();
      sums.add_(sum);
      const at::Tensor parts = all.wait();
      for (int rank = 0; rank < comm.world(); ++rank)
        gathered.add_(parts.narrow(0, 1000 * rank, 1000));
    }
    const float want =
        static_cast<float>(kSteps * ranks + comm.world() * kSteps * (kSteps - 1) / 2);
    EXPECT_TRUE(sums.cpu().equal(torch::full({1000}, want)));
    EXPECT_TRUE(gathered.cpu().equal(torch::full({1000}, want)));
  });
}

TEST(StagedCommunicator, SeveralMayBeUnderWayAndWaitedForInAnyOrder) {
  on_one_gpu([](Communicator& comm) {
    std::vector<at::Tensor> tensors;
    std::vector<Pending> pending;
    for (int i = 0; i < 12; ++i) {
      const bool is_on_host = i % 3 == 2;
      const at::TensorOptions there = is_on_host ? at::TensorOptions() : on_gpu(at::kFloat);
      tensors.push_back(at::full({1000}, comm.rank() + i, there.dtype(at::kFloat)));
      pending.push_back(comm.all_reduce(tensors.back()));
      pending.front().poll();
    }
    comm.barrier();
    const int ranks = comm.world() * (comm.world() - 1) / 2;
    for (std::size_t i = 12; i-- > 0;) {
      pending[i].wait();
      EXPECT_EQ(tensors[i][999].item<int>(), ranks + static_cast<int>(i) * comm.world());
    }
  });
}

TEST(StagedCommunicator, ADroppedCollectiveIsStillJoined) {
  on_one_gpu([](Communicator& comm) {
    at::Tensor tensor = at::ones({10}, on_gpu(at::kFloat));
    { const Pending dropped = comm.all_reduce(tensor); }
    EXPECT_EQ(tensor[0].item<int>(), comm.world());
  });
}

/// A communicator for host memory that cannot add up.
class WithoutSums final : public Communicator {
 public:
  WithoutSums() : Communicator(0, 1) {}

 private:
  static Pending done(const at::Tensor& tensor) { return Pending(tensor, nullptr, nullptr); }
  Pending start_all_gather(const at::Tensor& local, const std::string&) override {
    return done(local);
  }
  Pending start_reduce_scatter(const at::Tensor&, const std::string& call) override {
    throw Error(call + ": no sums");
  }
  Pending start_all_reduce(at::Tensor&, const std::string& call) override {
    throw Error(call + ": no sums");
  }
  Pending start_broadcast(at::Tensor& tensor, const std::string&) override { return done(tensor); }
  void do_barrier(const std::string&) override {}
};

TEST(StagedCommunicator, WhatTheHostsRefusesIsToldWhereItIsWaitedFor) {
  const auto comm = make_staged_communicator(std::make_shared<WithoutSums>(), kGpu);
  at::Tensor tensor = at::ones({3}, on_gpu(at::kFloat));
  Pending refused = comm->all_reduce(tensor), taken = comm->all_gather(tensor);
  EXPECT_EQ(taken.wait().sum().item<int>(), 3);
  try {
    refused.wait();
    FAIL() << "it was not refused";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "all_reduce of Float [3] (call 1): no sums");
  }
}

TEST(StagedCommunicator, ARankThatThrowsReleasesTheOthers) {
  try {
    on_one_gpu(3, [](Communicator& comm) {
      if (comm.rank() == 1) throw Error("had enough");
      at::Tensor tensor = at::ones({3}, on_gpu(at::kFloat));
      comm.all_reduce(tensor).wait();
    });
    FAIL() << "nobody threw";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "had enough");
  }
}

TEST(StagedCommunicator, RanksKnowHowManyShareTheirGpu) {
  on_one_gpu([](Communicator& comm) { EXPECT_EQ(place_ranks(comm).ranks_on_gpu, comm.world()); });
}

}  // namespace
}  // namespace pfc
