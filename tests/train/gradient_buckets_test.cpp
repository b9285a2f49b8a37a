#include "pfc/train/gradient_buckets.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "ranks.h"

namespace pfc {
namespace {

std::vector<at::Tensor> some_parameters() {
  return {torch::ones({3, 4}).requires_grad_(), torch::ones({5}).requires_grad_(), torch::ones({2}),
          torch::ones({7}).requires_grad_()};
}

/// A loss whose gradients are (rank + 1)·1, 2 and 3 for the parameters that require one.
at::Tensor loss_of(const std::vector<at::Tensor>& p, int rank) {
  return (rank + 1) * (p[0].sum() + 2 * p[1].sum() + 3 * p[3].sum());
}

TEST(RanksGradientBuckets, SumOverRanksHoweverTheyAreCut) {
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{50}, std::int64_t{1} << 20}) {
    on_ranks([&](Communicator& comm) {
      const auto p = some_parameters();
      GradientBuckets gradients(p, comm, bytes);
      EXPECT_EQ(gradients.buckets(), bytes == 1 ? 3 : bytes == 50 ? 2 : 1);
      const float ranks = static_cast<float>(comm.world() * (comm.world() + 1)) / 2;
      for (int step = 0; step < 2; ++step) {
        gradients.zero();
        gradients.send_when_full();
        loss_of(p, comm.rank()).backward();
        gradients.finish();
        EXPECT_TRUE(p[0].grad().equal(torch::full({3, 4}, ranks)));
        EXPECT_TRUE(p[1].grad().equal(torch::full({5}, 2 * ranks)));
        EXPECT_TRUE(p[3].grad().equal(torch::full({7}, 3 * ranks)));
        EXPECT_FALSE(p[2].grad().defined());
      }
    });
  }
}

TEST(GradientBuckets, TheNormOfMillionsOfNumbersKeepsSixDigits) {
  const auto comm = make_self_communicator();
  at::manual_seed(3);
  for (const std::int64_t few : {0, 1000}) {
    const at::Tensor parameter = torch::zeros({6'500'000}).requires_grad_();
    GradientBuckets gradients({parameter}, *comm);
    parameter.grad().normal_().mul_(1e-3).narrow(0, 0, few).fill_(1);
    const double want = parameter.grad().to(at::kDouble).norm().item<double>();
    EXPECT_NEAR(gradients.norm().item<double>(), want, 1e-6 * want);
  }
}

TEST(RanksGradientBuckets, AddUpMicroBatchesAndTravelWithTheLast) {
  on_ranks([](Communicator& comm) {
    const auto p = some_parameters();
    GradientBuckets gradients(p, comm);
    gradients.zero();
    const std::int64_t before = comm.traffic()[2].calls;
    loss_of(p, comm.rank()).backward();
    loss_of(p, comm.rank()).backward();
    EXPECT_EQ(comm.traffic()[2].calls, before);
    gradients.send_when_full();
    loss_of(p, comm.rank()).backward();
    EXPECT_EQ(comm.traffic()[2].calls, before + 1);  // while the backward pass ran
    gradients.finish();
    const float ranks = static_cast<float>(comm.world() * (comm.world() + 1)) / 2;
    EXPECT_TRUE(p[3].grad().equal(torch::full({7}, 9 * ranks)));
  });
}

TEST(RanksGradientBuckets, AParameterThatTheLossDoesNotUseHoldsNothingUp) {
  on_ranks([](Communicator& comm) {
    const auto p = some_parameters();
    GradientBuckets gradients(p, comm, 1);
    gradients.zero();
    gradients.send_when_full();
    (p[0].sum() + p[1].sum()).backward();
    gradients.finish();
    EXPECT_EQ(p[0].grad()[0][0].item<float>(), static_cast<float>(comm.world()));
    EXPECT_EQ(p[3].grad().abs().max().item<float>(), 0);
  });
}

TEST(GradientBuckets, LeaveTheParametersAsTheyWere) {
  const auto comm = make_self_communicator();
  const auto p = some_parameters();
  { const GradientBuckets gradients(p, *comm); }
  EXPECT_FALSE(p[0].grad().defined());
  p[0].sum().backward();
  EXPECT_EQ(p[0].grad().sum().item<float>(), 12);
}

}  // namespace
}  // namespace pfc
