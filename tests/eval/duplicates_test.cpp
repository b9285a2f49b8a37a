#include "eval/duplicates.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "pfc/base/memory.h"

namespace pfc {
namespace {

torch::Tensor unit_rows(std::int64_t n, std::int64_t dim) {
  torch::Generator generator = at::detail::createCPUGenerator(5);
  const torch::Tensor rows = torch::randn({n, dim}, generator);
  return rows / rows.norm(2, {1}, /*keepdim=*/true);
}

TEST(DuplicateRows, AreFoundAcrossBlocksEachWithTheFirstOneItIsLike) {
  const torch::Tensor rows = unit_rows(2600, 32);
  const std::vector<std::pair<std::int64_t, std::int64_t>> wanted = {
      {1, 0}, {1023, 3}, {1024, 3}, {1025, 1022}, {2500, 2499}, {2599, 3}};
  for (const auto& [row, of] : wanted) rows[row] = rows[of];
  const auto found = duplicate_rows(rows, 0.95);
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].row, wanted[i].first);
    EXPECT_EQ(found[i].of, wanted[i].second);
    EXPECT_NEAR(found[i].cosine, 1, 1e-6);
  }
}

TEST(DuplicateRows, OfAnIdentityOfManyImagesTakeABlockOfMemory) {
  const torch::Tensor rows = unit_rows(12'000, 8);  // all cosines: 576 MB
  reset_peak_memory();
  const std::int64_t before = peak_memory();
  EXPECT_TRUE(duplicate_rows(rows, 1.5).empty());
  EXPECT_LT(peak_memory() - before, std::int64_t{100} << 20);
}

}  // namespace
}  // namespace pfc
