#include "bench/head_baselines.h"

#include <gtest/gtest.h>
#include <torch/nn/functional/normalization.h>
#include <torch/types.h>

#include <vector>

#include "pfc/head/partial_fc.h"

// The baselines that the head is compared with compute the same as the head.

namespace pfc {
namespace {

constexpr std::int64_t kClasses = 60, kDim = 24;
constexpr double kScale = 16;  // at 64 the baselines, like public code, cut off losses above 69

void expect_close(const at::Tensor& found, const at::Tensor& want, const char* what) {
  EXPECT_LT((found - want).abs().max().item<double>(), 1e-5 * want.abs().max().item<double>())
      << what;
}

/// Three steps of a baseline and of the head. A rate of 1 draws every class, and a rate of 0 only
/// the batch's own classes; so both draw the same.
void expect_equals_head(decltype(make_dense_baseline)* make, double rate) {
  SCOPED_TRACE(rate);
  const std::vector<std::int64_t> numbers = {3, 17, 17, 40, 59, 0, 5};
  const at::Tensor labels = torch::tensor(numbers);
  std::vector<GlobalClass> classes;
  for (const std::int64_t number : numbers) classes.push_back({number});
  const ClassShard shard(kClasses, 0, 1);
  const ClassSampler sampler({.sample_rate = rate}, shard);
  PartialFc head({.table = {.dim = kDim}, .scale = kScale}, shard);
  const auto comm = make_self_communicator();
  at::manual_seed(5);
  const at::Tensor weights = torch::randn({kClasses, kDim}) * 0.5;
  head.settled_table().weights().copy_(weights);
  const auto baseline = make({.sample_rate = rate, .scale = kScale}, weights);

  for (std::int64_t step = 0; step < 3; ++step) {
    const at::Tensor embeddings = torch::nn::functional::normalize(torch::randn({7, kDim}));
    head.begin(sampler.draw(step, classes), torch::ones(7));
    head.forward({embeddings}, *comm);
    head.exchange(*comm);
    const at::Tensor dx = head.d_embeddings();
    Pending in_flight = comm->reduce_scatter(dx);
    head.update(BaselineOptions().lr, in_flight);
    const HeadBaseline::Step found = baseline->step(embeddings, labels);
    EXPECT_NEAR(found.loss.item<double>(), head.loss(), 1e-5 * head.loss());
    expect_close(found.d_embeddings, dx - (dx * embeddings).sum(1, true) * embeddings,
                 "d_embeddings");
    // The optimizer of the dense baseline also moves the rows that were not sampled.
    const at::Tensor rows = rate == 1 ? torch::arange(kClasses) : labels;
    expect_close(weights.index_select(0, rows),
                 head.settled_table().weights().index_select(0, rows), "weights");
  }
}

TEST(HeadBaselines, DenseEqualsTheHead) {
  expect_equals_head(make_dense_baseline, 1);
  expect_equals_head(make_dense_baseline, 0);
}

TEST(HeadBaselines, GatherEqualsTheHead) {
  expect_equals_head(make_gather_baseline, 1);
  expect_equals_head(make_gather_baseline, 0);
}

TEST(HeadBaselines, GatherChangesTheShareOfRowsThatItSampled) {
  at::manual_seed(6);
  const at::Tensor weights = torch::randn({kClasses, kDim}), before = weights.clone();
  const at::Tensor labels = torch::tensor(std::vector<std::int64_t>{3, 17, 17, 59});
  make_gather_baseline({.sample_rate = 0.25}, weights)->step(torch::randn({4, kDim}), labels);
  const at::Tensor changed = (weights != before).any(1);
  EXPECT_EQ(changed.sum().item<std::int64_t>(), 15);
  EXPECT_TRUE(changed.index_select(0, labels).all().item<bool>());
}

}  // namespace
}  // namespace pfc
