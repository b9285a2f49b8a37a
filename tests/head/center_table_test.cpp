#include "pfc/head/center_table.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "pfc/base/error.h"

namespace pfc {
namespace {

TEST(CenterTable, StartsNormalWithDeviationOneHundredth) {
  const CenterTable table(ClassShard(2000, 0, 1), 64, 1);
  const at::Tensor w = table.weights();
  EXPECT_NEAR(w.mean().item<double>(), 0, 1e-4);
  EXPECT_NEAR(w.std().item<double>(), 0.01, 1e-4);
  const at::Tensor z = w / 0.01;
  EXPECT_NEAR(z.pow(4).mean().item<double>(), 3, 0.1);  // a normal distribution's kurtosis
  EXPECT_NEAR((z.abs() < 1).to(at::kDouble).mean().item<double>(), 0.6827, 0.01);
  EXPECT_EQ(table.momentum().abs().max().item<float>(), 0);
}

TEST(CenterTable, StartsTheSameForAnyNumberOfRanks) {
  const CenterTable whole(ClassShard(101, 0, 1), 10, 7);
  for (int rank = 0; rank < 3; ++rank) {
    const CenterTable part(ClassShard(101, rank, 3), 10, 7);
    const std::int64_t begin = part.shard().begin().v;
    EXPECT_TRUE(part.weights().equal(whole.weights().narrow(0, begin, part.shard().rows())));
  }
  EXPECT_FALSE(CenterTable(ClassShard(101, 0, 1), 10, 8).weights().equal(whole.weights()));
}

TEST(CenterTable, GathersRowsNormalised) {
  const CenterTable table(ClassShard(50, 0, 1), 33, 1);
  const std::vector<LocalRow> rows = {{4}, {9}, {49}};
  const at::Tensor unit = at::empty({3, 33}), inverse = at::empty({3});
  table.gather_normalize(rows, unit, inverse);
  const at::Tensor w =
      table.weights().index_select(0, at::tensor(std::vector<std::int64_t>{4, 9, 49}));
  EXPECT_TRUE(unit.allclose(torch::nn::functional::normalize(w), 1e-5, 1e-6));
  EXPECT_TRUE(inverse.allclose(1 / w.norm(2, 1), 1e-5));
}

TEST(CenterTable, RefusesAWorldWithMoreRanksThanClasses) {
  EXPECT_THROW(CenterTable(ClassShard(2, 2, 3), 8, 0), Error);
}

}  // namespace
}  // namespace pfc
