#include "pfc/head/center_table.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "pfc/base/error.h"

namespace pfc {
namespace {

TEST(CenterTable, StartsNormalWithDeviationOneHundredth) {
  const CenterTable table(ClassShard(2000, 0, 1), {.dim = 64, .seed = 1});
  const at::Tensor w = table.weights();
  EXPECT_NEAR(w.mean().item<double>(), 0, 1e-4);
  EXPECT_NEAR(w.std().item<double>(), 0.01, 1e-4);
  const at::Tensor z = w / 0.01;
  EXPECT_NEAR(z.pow(4).mean().item<double>(), 3, 0.1);  // a normal distribution's kurtosis
  EXPECT_NEAR((z.abs() < 1).to(at::kDouble).mean().item<double>(), 0.6827, 0.01);
  EXPECT_EQ(table.momentum().abs().max().item<float>(), 0);
}

TEST(CenterTable, StartsTheSameForAnyNumberOfRanks) {
  const CenterTable whole(ClassShard(101, 0, 1), {.dim = 10, .seed = 7});
  for (int rank = 0; rank < 3; ++rank) {
    const CenterTable part(ClassShard(101, rank, 3), {.dim = 10, .seed = 7});
    const std::int64_t begin = part.shard().begin().v;
    EXPECT_TRUE(part.weights().equal(whole.weights().narrow(0, begin, part.shard().rows())));
  }
  EXPECT_FALSE(CenterTable(ClassShard(101, 0, 1), {.dim = 10, .seed = 8}).weights().equal(whole.weights()));
}

TEST(CenterTable, GathersRowsNormalised) {
  const CenterTable table(ClassShard(50, 0, 1), {.dim = 33, .seed = 1});
  const std::vector<LocalRow> rows = {{4}, {9}, {49}};
  const at::Tensor unit = at::empty({3, 33}), inverse = at::empty({3});
  table.gather_normalize(rows, unit, inverse);
  const at::Tensor w =
      table.weights().index_select(0, at::tensor(std::vector<std::int64_t>{4, 9, 49}));
  EXPECT_TRUE(unit.allclose(torch::nn::functional::normalize(w), 1e-5, 1e-6));
  EXPECT_TRUE(inverse.allclose(1 / w.norm(2, 1), 1e-5));
}

/// Rows go through steps that sample them now and then; each must end where torch.optim's
/// optimizer takes it that sees only the steps with that row.
template <typename MakeOptimizer>
void expect_equals_torch(const CenterOptimizer& optimizer, const MakeOptimizer& make) {
  constexpr std::int64_t kRows = 6, kDim = 20;
  CenterTable table(ClassShard(kRows, 0, 1), {.dim = kDim, .optimizer = optimizer, .seed = 3});
  std::vector<at::Tensor> weights;
  std::vector<std::unique_ptr<torch::optim::Optimizer>> optimizers;
  for (std::int64_t row = 0; row < kRows; ++row) {
    weights.push_back(table.weights()[row].to(at::kDouble).requires_grad_());
    optimizers.push_back(make(weights.back()));
  }
  at::manual_seed(2);
  for (std::int64_t step = 0; step < 60; ++step) {
    const double lr = 1e-3 * static_cast<double>(1 + step % 7);
    std::vector<LocalRow> rows;
    for (std::int64_t row = 0; row < kRows; ++row) {
      if (step % (row + 1) == 0) rows.push_back({row});
    }
    const auto n = std::ssize(rows);
    const at::Tensor unit = at::empty({n, kDim}), inverse = at::empty({n});
    const at::Tensor d_unit = torch::randn({n, kDim}) / 100;
    table.gather_normalize(rows, unit, inverse);
    table.update(rows, d_unit, inverse, lr);
    table.end_step(lr);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto row = static_cast<std::size_t>(rows[static_cast<std::size_t>(i)].v);
      optimizers[row]->zero_grad();
      (torch::nn::functional::normalize(weights[row],
                                        torch::nn::functional::NormalizeFuncOptions().dim(0)) *
       d_unit[i])
          .sum()
          .backward();
      optimizers[row]->param_groups()[0].options().set_lr(lr);
      optimizers[row]->step();
    }
  }
  const at::Tensor want = torch::stack(weights).detach();
  const double largest = want.abs().max().item<double>();
  EXPECT_LT((table.weights().to(at::kDouble) - want).abs().max().item<double>(), 1e-5 * largest);
}

TEST(CenterTable, ARowOfSgdGoesWhereTorchTakesItInTheStepsThatSampleIt) {
  expect_equals_torch({.momentum = 0.9, .weight_decay = 0.01}, [](const at::Tensor& weight) {
    return std::make_unique<torch::optim::SGD>(
        std::vector<at::Tensor>{weight},
        torch::optim::SGDOptions(1).momentum(0.9).weight_decay(0.01));
  });
}

TEST(CenterTable, ARowOfAdamWGoesWhereTorchTakesItInTheStepsThatSampleIt) {
  expect_equals_torch(
      {.kind = CenterOptimizer::Kind::kAdamW, .weight_decay = 0.1}, [](const at::Tensor& weight) {
        return std::make_unique<torch::optim::AdamW>(
            std::vector<at::Tensor>{weight}, torch::optim::AdamWOptions(1).weight_decay(0.1));
      });
}

TEST(CenterTable, RefusesAWorldWithMoreRanksThanClasses) {
  EXPECT_THROW(CenterTable(ClassShard(2, 2, 3), {.dim = 8}), Error);
}

}  // namespace
}  // namespace pfc
