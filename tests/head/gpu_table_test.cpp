// Tables of class centres on a GPU.
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <vector>

#include "head/gpu_memory.h"
#include "head/staged_table.h"
#include "pfc/head/center_table.h"
#include "pfc/plan/sampler.h"

namespace pfc {
namespace {

TEST(GpuTable, StartsAsTheCpusDoes) {
  for (const bool in_host_memory : {false, true}) {
    const ClassShard shard(301, 1, 3);
    CenterTableOptions options{.dim = 64, .seed = 5};
    const at::Tensor want = CenterTable(shard, options).weights().clone();
    options.device = kGpu;
    options.in_host_memory = in_host_memory;
    const CenterTable table(shard, options);
    EXPECT_TRUE(table.weights().cpu().allclose(want, 1e-5, 1e-7));
    EXPECT_EQ(table.part("momentum").abs().max().item<float>(), 0);
  }
}

/// Rows of a table in pinned host memory go to slots in the GPU's memory, from one slot to the
/// other, and back.
TEST(StagedTable, BringsEveryRowWhereItBelongs) {
  const ClassShard shard(5000, 0, 1);
  CenterTableOptions options{.dim = 512, .device = kGpu, .in_host_memory = true};
  options.optimizer.kind = CenterOptimizer::Kind::kAdamW;
  options.state = NumberType::kBFloat16;
  const CenterTable table(shard, options);
  table.part("momentum").normal_();
  table.part("updates").random_(0, 99);
  StagedTable staged(TableState::of(table), c10::cuda::getCurrentCUDAStream());
  staged.reserve(2000);
  const ClassSampler sampler({.sample_rate = 0.3}, shard);
  const at::Tensor weights = table.weights().clone(), updates = table.part("updates").clone();
  for (std::int64_t step = 0; step < 6; ++step) {
    const SampledClasses classes = sampler.draw(step, {});
    const gpu::Table part = staged.part(staged.begin(classes), {});
    staged.prefetch(sampler.draw(step + 1, {}));
    // The content of the slot is increased in place.
    const std::int64_t count = classes.count();
    const auto counted_up = [&](void* data, at::IntArrayRef sizes, at::ScalarType type) {
      at::for_blob(data, sizes).options(on_gpu(type)).target_device(kGpu).make_tensor().add_(1);
    };
    counted_up(part.weights, {count, 512}, at::kFloat);
    counted_up(part.updates, {count}, at::kInt);
    staged.end();
    std::vector<std::int64_t> rows;
    for (const LocalRow row : classes.rows()) rows.push_back(row.v);
    const at::Tensor places = torch::tensor(rows, at::kLong);
    weights.index_add_(0, places, torch::ones({count, 512}));
    updates.index_add_(0, places, torch::ones({count}, at::kInt));
  }
  staged.drain();
  EXPECT_TRUE(table.weights().equal(weights));
  EXPECT_TRUE(table.part("updates").equal(updates));
}

}  // namespace
}  // namespace pfc
