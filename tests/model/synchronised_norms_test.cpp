#include "model/synchronised_norms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/model/backbone.h"
#include "ranks.h"

namespace pfc {
namespace {

using torch::nn::BatchNorm1d;
using torch::nn::BatchNorm1dOptions;
using torch::nn::BatchNorm2d;
using torch::nn::BatchNorm2dOptions;

constexpr std::int64_t kAllImages = 12;  // shared by 1, 2, 3 and 4 ranks

/// Batch normalisation in all the ways in which a network may hold it: a typed member, in a
/// Sequential, without a weight, with a cumulative average, and as a plain function.
class OwnNetwork : public Backbone {
 public:
  OwnNetwork() {
    register_module("first", first);
    register_module("inner", inner);
    register_module("last", last);
    mean = register_buffer("own_mean", torch::zeros({4}));
    variance = register_buffer("own_variance", torch::ones({4}));
    to(torch::kFloat64);
    const torch::NoGradGuard no_grad;
    double next = 0;
    for (torch::Tensor& parameter : parameters())
      parameter.copy_(
          torch::linspace(next += 0.1, 2, parameter.numel(), torch::kFloat64).view_as(parameter));
  }

  torch::Tensor forward(torch::Tensor images) override {
    auto x = inner->forward(first->forward(images).sin());
    x = torch::batch_norm(x, {}, {}, mean, variance, is_training(), 0.2, 1e-5, false);
    return last->forward(x.square().flatten(1));
  }

  BatchNorm2d first{BatchNorm2dOptions(3).eps(1e-3)};
  torch::nn::Sequential inner{torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 2)),
                              BatchNorm2d(BatchNorm2dOptions(4).momentum(std::nullopt))};
  BatchNorm1d last{BatchNorm1dOptions(36).affine(false)};
  torch::Tensor mean, variance;
};

/// What two steps of training come to: embeddings, gradients and buffers.
std::vector<torch::Tensor> two_steps(OwnNetwork& network, Communicator* comm) {
  network.train();
  const std::int64_t images = kAllImages / (comm ? comm->world() : 1);
  const std::int64_t first = comm ? comm->rank() * images : 0;
  auto generator = at::detail::createCPUGenerator(1);
  std::vector<torch::Tensor> results;
  for (int step = 0; step < 2; ++step) {
    const auto all = torch::randn({kAllImages, 3, 4, 4}, generator, torch::kFloat64) * 3 + 1;
    const auto upstream = torch::randn({kAllImages, 36}, generator, torch::kFloat64);
    const auto x = all.narrow(0, first, images).clone().requires_grad_();
    const auto y = network.forward(x);
    y.backward(upstream.narrow(0, first, images));
    for (const auto& part : {y.detach(), x.grad()})
      results.push_back(comm ? comm->all_gather(part.contiguous()).wait() : part);
  }
  for (const torch::Tensor& parameter : network.parameters()) {
    auto sum = parameter.grad().clone();
    results.push_back(comm ? comm->all_reduce(sum).wait() : sum);
  }
  for (const torch::Tensor& buffer : network.buffers()) results.push_back(buffer.clone());
  return results;
}

TEST(RanksSynchronisedNorms, LibTorchsBatchNormalisationOverRanksEqualsTheWholeBatch) {
  OwnNetwork whole;
  const auto want = two_steps(whole, nullptr);
  on_ranks([&](Communicator& comm) {
    OwnNetwork network;
    synchronise_batch_norm(network, comm);
    const auto got = two_steps(network, &comm);
    EXPECT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i)
      EXPECT_LE((got[i] - want[i]).abs().max().item<double>(), 1e-9)
          << i << " on " << comm.world() << " ranks";
  });
}

TEST(SynchronisedNorms, AnotherNetworkAndEvaluationAreLeftAsTheyAre) {
  const auto comm = make_self_communicator();
  OwnNetwork network, other;
  const auto before = two_steps(other, nullptr);
  synchronise_batch_norm(network, *comm);
  OwnNetwork another;
  const auto after = two_steps(another, nullptr);
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(torch::equal(before[i], after[i]));
  network.eval();
  other.eval();
  const auto images = torch::rand({2, 3, 4, 4}, torch::kFloat64);
  const auto alone = network.forward(images.narrow(0, 0, 1));
  EXPECT_TRUE(torch::allclose(network.forward(images).narrow(0, 0, 1), alone));
}

TEST(SynchronisedNorms, OneWithoutRunningStatisticsIsRefused) {
  class Bare : public Backbone {
   public:
    Bare() { register_module("norm", norm); }
    torch::Tensor forward(torch::Tensor images) override { return norm->forward(images); }
    BatchNorm2d norm{BatchNorm2dOptions(3).track_running_stats(false)};
  };
  const auto comm = make_self_communicator();
  Bare network;
  EXPECT_THAT(
      [&] { synchronise_batch_norm(network, *comm); },
      testing::ThrowsMessage<Error>(testing::HasSubstr("'norm' keeps no running statistics")));
}

}  // namespace
}  // namespace pfc
