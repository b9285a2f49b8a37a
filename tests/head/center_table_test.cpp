#include "pfc/head/center_table.h"

#include <gtest/gtest.h>
#include <torch/nn/functional/normalization.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cmath>

#include "head/host_rows.h"
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
  EXPECT_EQ(table.part("momentum").abs().max().item<float>(), 0);
}

TEST(CenterTable, StartsTheSameForAnyNumberOfRanks) {
  const CenterTable whole(ClassShard(101, 0, 1), {.dim = 10, .seed = 7});
  for (int rank = 0; rank < 3; ++rank) {
    const CenterTable part(ClassShard(101, rank, 3), {.dim = 10, .seed = 7});
    const std::int64_t begin = part.shard().begin().v;
    EXPECT_TRUE(part.weights().equal(whole.weights().narrow(0, begin, part.shard().rows())));
  }
  EXPECT_FALSE(
      CenterTable(ClassShard(101, 0, 1), {.dim = 10, .seed = 8}).weights().equal(whole.weights()));
}

TEST(CenterTable, GathersRowsNormalised) {
  CenterTable table(ClassShard(50, 0, 1), {.dim = 33, .seed = 1});
  const std::vector<LocalRow> rows = {{4}, {9}, {49}};
  const at::Tensor unit = at::empty({3, 33}), inverse = at::empty({3});
  HostRows(TableState::of(table)).gather_normalize(rows, unit, inverse);
  const at::Tensor w =
      table.weights().index_select(0, at::tensor(std::vector<std::int64_t>{4, 9, 49}));
  EXPECT_TRUE(unit.allclose(torch::nn::functional::normalize(w), 1e-5, 1e-6));
  EXPECT_TRUE(inverse.allclose(1 / w.norm(2, 1), 1e-5));
}

/// Rows take part in some of the steps. Each must end where torch.optim's optimizer takes it if it
/// sees only the steps with that row.
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
    HostRows(TableState::of(table)).gather_normalize(rows, unit, inverse);
    HostRows(TableState::of(table)).update(rows, d_unit, inverse, lr);
    TableState::of(table).end_step(lr);
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

constexpr auto kDense = CenterOptimizer::Update::kDenseEquivalent;

std::vector<LocalRow> every_third(std::int64_t step, std::int64_t rows) {
  std::vector<LocalRow> sampled;
  for (std::int64_t row = step % 3; row < rows; row += 3) sampled.push_back({row});
  return sampled;
}

/// A step over some rows, each with the gradient of a random d_unit, which is returned: [rows,
/// dim].
at::Tensor take_step(CenterTable& table, const std::vector<LocalRow>& rows, double lr) {
  const auto n = std::ssize(rows);
  const at::Tensor unit = at::empty({n, table.dim()}), inverse = at::empty({n});
  const at::Tensor d_unit = torch::randn({n, table.dim()}) / 100;
  HostRows(TableState::of(table)).gather_normalize(rows, unit, inverse);
  HostRows(TableState::of(table)).update(rows, d_unit, inverse, lr);
  TableState::of(table).end_step(lr);
  return d_unit;
}

void expect_equals_sgd_over_the_whole_table(double momentum) {
  constexpr std::int64_t kRows = 40, kDim = 16, kSteps = 500;
  CenterTable table(
      ClassShard(kRows, 0, 1),
      {.dim = kDim, .optimizer = {.momentum = momentum, .weight_decay = 0.01, .update = kDense}});
  at::Tensor weights = table.weights().to(at::kDouble).requires_grad_();
  torch::optim::SGD sgd({weights},
                        torch::optim::SGDOptions(1).momentum(momentum).weight_decay(0.01));
  at::manual_seed(2);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const double lr = 1e-3 * static_cast<double>(1 + step % 7) * (step < 250 ? 1 : 0.1);
    // Some rows are sampled often, some for the last time long before the end, and one never.
    std::vector<LocalRow> rows;
    for (std::int64_t row = 0; row + 1 < kRows; ++row) {
      if (step % (3 * row + 1) == 0) rows.push_back({row});
    }
    const at::Tensor d_unit = take_step(table, rows, lr);
    std::vector<std::int64_t> index;
    for (const LocalRow row : rows) index.push_back(row.v);
    sgd.zero_grad();
    const at::Tensor sampled = weights.index_select(0, at::tensor(index));
    (torch::nn::functional::normalize(sampled) * d_unit).sum().backward();
    sgd.param_groups()[0].options().set_lr(lr);
    sgd.step();
    if (step == 333) table.catch_up();  // like a save, it must change nothing
  }
  const at::Tensor want = weights.detach();
  const double most = 1e-5 * want.abs().max().item<double>();
  std::vector<LocalRow> all;
  for (std::int64_t row = 0; row < kRows; ++row) all.push_back({row});
  EXPECT_LT((table.rows(all).to(at::kDouble) - want).abs().max().item<double>(), most);
  table.catch_up();
  EXPECT_LT((table.weights().to(at::kDouble) - want).abs().max().item<double>(), most);
}

TEST(CenterTable, DenseEquivalentIsSgdOverTheWholeTable) {
  expect_equals_sgd_over_the_whole_table(0.9);
  expect_equals_sgd_over_the_whole_table(0);
}

TEST(CenterTable, WithoutMomentumThereIsNoState) {
  const CenterTable table(ClassShard(10, 0, 1), {.dim = 8, .optimizer = {.momentum = 0}});
  EXPECT_FALSE(table.part("momentum").defined());
  EXPECT_EQ(table.bytes(), 10 * 8 * 4);
}

TEST(CenterTable, ARowOfSgdWithoutMomentumGoesWhereTorchTakesIt) {
  expect_equals_torch({.momentum = 0, .weight_decay = 0.01}, [](const at::Tensor& weight) {
    return std::make_unique<torch::optim::SGD>(std::vector<at::Tensor>{weight},
                                               torch::optim::SGDOptions(1).weight_decay(0.01));
  });
}

CenterTableOptions in_bfloat16(std::int64_t dim) {
  return {.dim = dim, .weights = NumberType::kBFloat16, .state = NumberType::kBFloat16};
}

TEST(CenterTable, BFloat16StartsAsFloat32Rounded) {
  const CenterTable whole(ClassShard(50, 0, 1), {.dim = 20}),
      half(ClassShard(50, 0, 1), in_bfloat16(20));
  EXPECT_EQ(half.weights().scalar_type(), at::kBFloat16);
  EXPECT_TRUE(half.weights().equal(whole.weights().to(at::kBFloat16)));
  EXPECT_EQ(2 * half.bytes(), whole.bytes());
}

TEST(CenterTable, BFloat16LosesNoSmallUpdate) {
  // Each step changes a weight by a fiftieth of bfloat16's resolution. Rounded to the nearest, no
  // change would remain.
  constexpr std::int64_t kDim = 256, kSteps = 500;
  CenterTableOptions options = in_bfloat16(kDim);
  options.optimizer = {.momentum = 0, .weight_decay = 1};
  CenterTable table(ClassShard(1, 0, 1), options);
  table.weights().fill_(1);
  const std::vector<LocalRow> rows = {{0}};
  const double lr = 1.0 / 256 / 50;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    HostRows(TableState::of(table)).update(rows, torch::zeros({1, kDim}), torch::ones({1}), lr);
    TableState::of(table).end_step(lr);
  }
  EXPECT_NEAR(table.weights().to(at::kDouble).mean().item<double>(),
              std::pow(1 - lr, static_cast<double>(kSteps)), 1e-3);
}

TEST(CenterTable, BFloat16FollowsFloat32) {
  for (const auto update : {CenterOptimizer::Update::kSampled, kDense}) {
    CenterTableOptions options = in_bfloat16(64);
    options.optimizer.update = update;
    CenterTable half(ClassShard(30, 0, 1), options);
    options.weights = options.state = NumberType::kFloat32;
    CenterTable whole(ClassShard(30, 0, 1), options);
    whole.weights().mul_(50);
    half.weights().copy_(whole.weights());
    const at::Tensor start = whole.weights().clone();
    for (CenterTable* const table : {&whole, &half}) {
      at::manual_seed(3);
      for (std::int64_t step = 0; step < 100; ++step) take_step(*table, every_third(step, 30), 1);
      table->catch_up();
    }
    const at::Tensor moved = whole.weights() - start, error = half.weights() - whole.weights();
    EXPECT_LT(error.norm().item<double>(), 0.1 * moved.norm().item<double>());
  }
}

TEST(CenterTable, BFloat16IsRoundedTheSameOnAnyNumberOfRanks) {
  CenterTable whole(ClassShard(31, 0, 1), in_bfloat16(24));
  const at::Tensor unit = at::empty({31, 24}), inverse = at::empty({31});
  at::manual_seed(4);
  const at::Tensor d_unit = torch::randn({31, 24});
  std::vector<LocalRow> rows;
  for (std::int64_t row = 0; row < 31; ++row) rows.push_back({row});
  HostRows(TableState::of(whole)).gather_normalize(rows, unit, inverse);
  HostRows(TableState::of(whole)).update(rows, d_unit, inverse, 0.1);
  for (int rank = 0; rank < 2; ++rank) {
    CenterTable part(ClassShard(31, rank, 2), in_bfloat16(24));
    const std::int64_t first = part.shard().begin().v, count = part.shard().rows();
    HostRows(TableState::of(part))
        .update(std::span(rows).first(static_cast<std::size_t>(count)),
                d_unit.narrow(0, first, count), inverse.narrow(0, first, count), 0.1);
    EXPECT_TRUE(part.weights().equal(whole.weights().narrow(0, first, count)));
    EXPECT_TRUE(part.part("momentum").equal(whole.part("momentum").narrow(0, first, count)));
  }
}

TEST(CenterTable, RefusesWhatMakesNoSense) {
  EXPECT_THROW(CenterTable(ClassShard(5, 0, 1), {.dim = 0}), Error);
  EXPECT_THROW(
      CenterTable(
          ClassShard(5, 0, 1),
          {.dim = 8, .optimizer = {.kind = CenterOptimizer::Kind::kAdamW, .update = kDense}}),
      Error);
}

TEST(CenterTable, RefusesAWorldWithMoreRanksThanClasses) {
  EXPECT_THROW(CenterTable(ClassShard(2, 2, 3), {.dim = 8}), Error);
}

}  // namespace
}  // namespace pfc
