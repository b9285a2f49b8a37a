#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include "pfc/base/memory.h"
#include "pfc/export/safetensors.h"
#include "pfc/head/center_table.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

TEST(CenterFile, HoldsTheTableInItsTypeAndItsRangeOfClasses) {
  const TemporaryFolder folder;
  for (const NumberType type : {NumberType::kFloat32, NumberType::kBFloat16}) {
    CenterTable table(ClassShard(11, 1, 3), {.dim = 5, .weights = type});
    save_centers(table, folder / "centers.safetensors");
    const SafetensorsFile file(folder / "centers.safetensors");
    const TensorView& found = file.tensors().at(0);
    EXPECT_EQ(found.dtype, type == NumberType::kFloat32 ? "F32" : "BF16");
    EXPECT_EQ(found.shape, (std::vector<std::int64_t>{4, 5}));
    EXPECT_EQ(file.metadata("classes"), "11");
    EXPECT_EQ(file.metadata("first_class"), "4");
    const at::Tensor read = at::from_blob(const_cast<std::byte*>(found.bytes.data()), {4, 5},
                                          table.weights().scalar_type());
    EXPECT_TRUE(read.equal(table.weights()));
  }
}

TEST(CenterFile, HoldsCentresThatWentThroughTheStepsTheyMissed) {
  const TemporaryFolder folder;
  CenterTableOptions options{.dim = 4};
  options.optimizer.weight_decay = 0.5;
  options.optimizer.rule = CenterOptimizer::Rule::kDenseEquivalent;
  CenterTable table(ClassShard(3, 0, 1), options);
  const at::Tensor before = table.weights().clone();
  table.end_step(0.1);  // which sampled none
  EXPECT_TRUE(table.weights().equal(before));
  save_centers(table, folder / "centers.safetensors");
  EXPECT_TRUE(table.weights().allclose(before * 0.95, 1e-6));
}

TEST(CenterFile, IsWrittenWithoutACopyOfTheTable) {
  const TemporaryFolder folder;
  CenterTable table(ClassShard(40'000, 0, 1), {.dim = 512});  // 82 MB of weights
  reset_peak_memory();
  const std::int64_t before = peak_memory();
  if (before == 0) GTEST_SKIP() << "the system does not tell";
  save_centers(table, folder / "centers.safetensors");
  EXPECT_LT(peak_memory() - before, 16 << 20);
}

}  // namespace
}  // namespace pfc
