#include "pfc/head/head_memory.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>

#include "head/head_steps.h"
#include "pfc/base/error.h"
#include "pfc/base/memory.h"
#include "pfc/train/benchmark.h"

namespace pfc {
namespace {

constexpr std::int64_t kMillion = 1'000'000;

TEST(HeadMemory, OfTheTableIsWhatItsTypesTake) {
  CenterTableOptions options;
  EXPECT_EQ(bytes_a_row(options), 512 * (4 + 4));
  options.weights = NumberType::kBFloat16;
  EXPECT_EQ(bytes_a_row(options), 512 * (2 + 4));
  options.state = NumberType::kBFloat16;
  EXPECT_EQ(bytes_a_row(options), 512 * (2 + 2));
  options.optimizer.update = CenterOptimizer::Update::kDenseEquivalent;
  EXPECT_EQ(bytes_a_row(options), 512 * (2 + 2) + 4);
  options.optimizer = {.momentum = 0};
  EXPECT_EQ(bytes_a_row(options), 512 * 2);
  options.optimizer = {.kind = CenterOptimizer::Kind::kAdamW};
  EXPECT_EQ(bytes_a_row(options), 512 * (2 + 2 * 2) + 4);
  EXPECT_EQ(head_memory({.table = options}, ClassShard(100, 0, 3), {}).table,
            34 * bytes_a_row(options));
}

TEST(HeadMemory, OfAStepFallsBackFromFloat32ToBFloat16ToNothingKept) {
  PartialFcOptions options;
  const ClassShard shard(kMillion, 0, 1);
  const HeadStepSize step{.rows = 100'000, .samples = 128};
  const auto with_workspace = [&](std::int64_t bytes) {
    options.workspace_bytes = bytes;
    return head_memory(options, shard, step).step;
  };
  const std::int64_t numbers = step.rows * step.samples, least = with_workspace(0);
  EXPECT_EQ(with_workspace(4 * numbers), least + 4 * numbers);
  EXPECT_EQ(with_workspace(4 * numbers - 1), least + 2 * numbers);
  EXPECT_EQ(with_workspace(2 * numbers - 1), least);
}

TEST(TileRows, OfAGpuAreFewerWhereThereAreMoreSamples) {
  PartialFcOptions options;
  options.table.device = at::kCUDA;
  EXPECT_EQ(PartialFc::tile_rows(options, 1), 16'384);
  EXPECT_EQ(PartialFc::tile_rows(options, 1024), 16'384);
  EXPECT_EQ(PartialFc::tile_rows(options, 8192), 2'048);
  options.tile_rows = 100;
  EXPECT_EQ(PartialFc::tile_rows(options, 8192), 100);
}

TEST(SumParts, AreAsManyAsKeepAGpuAtWorkAndAPowerOfTwo) {
  EXPECT_EQ(sum_parts(1024, 512), 4);
  EXPECT_EQ(sum_parts(1025, 512), 2);
  EXPECT_EQ(sum_parts(1, 512), kMostSumParts);
  EXPECT_EQ(sum_parts(0, 512), kMostSumParts);
  EXPECT_EQ(sum_parts(100'000, 512), 1);
}

TEST(HeadMemory, IsWhatTheHeadTakes) {
  BenchmarkOptions options{.identities = 40'000, .sample_rate = 0.5, .steps = 1};
  const auto comm = make_self_communicator();
  // The libraries reserve memory in each thread at their first GEMMs; this memory does not belong
  // to a head.
  benchmark({.identities = 1'000, .steps = 1}, *comm);
  reset_peak_memory();
  if (peak_memory() == 0) GTEST_SKIP() << "the system does not tell";
  const std::int64_t before = peak_memory();
  const std::int64_t taken = benchmark(options, *comm).memory_bytes - before;
  const HeadMemory want =
      head_memory(options.head, ClassShard(options.identities, 0, 1),
                  {.rows = 20'128, .samples = 128, .threads = at::get_num_threads()});
  EXPECT_NEAR(static_cast<double>(taken), static_cast<double>(want.on_device()),
              0.1 * static_cast<double>(want.on_device()));
}

TEST(HeadMemory, WhatDoesNotFitIsRefusedWithTheBytesAndTheWaysOut) {
  constexpr std::int64_t kGigabyte = 1'000'000'000, kHost = 50 * kGigabyte;
  const auto refusal = [](const PartialFcOptions& options, std::int64_t available) -> std::string {
    try {
      require_head_memory(options, ClassShard(10 * kMillion, 0, 1),
                          {.rows = kMillion, .samples = 128, .threads = 2}, {available, kHost});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  using ::testing::AllOf;
  using ::testing::HasSubstr;
  using ::testing::Not;
  PartialFcOptions options;
  EXPECT_EQ(refusal(options, 42 * kGigabyte), "");
  EXPECT_THAT(
      refusal(options, 22 * kGigabyte),
      AllOf(HasSubstr("40.96 GB"), HasSubstr("22.00 GB are free"), HasSubstr("bfloat16"),
            HasSubstr("21.00 GB in all"), HasSubstr("2 ranks"), Not(HasSubstr("sample_rate"))));
  EXPECT_THAT(refusal(options, 41 * kGigabyte), HasSubstr("lower head.sample_rate"));
  options.table.weights = options.table.state = NumberType::kBFloat16;
  EXPECT_EQ(refusal(options, 22 * kGigabyte), "");
  EXPECT_THAT(refusal(options, 6 * kGigabyte),
              AllOf(HasSubstr("4 ranks"), Not(HasSubstr("store them"))));
}

TEST(HeadMemory, OfAGpuWhoseTableLiesInHostMemoryHoldsTheRowsOfThreeSteps) {
  PartialFcOptions options;
  options.table.device = at::Device(at::kCUDA, 0);
  const ClassShard shard(kMillion, 0, 1);
  const HeadStepSize step{.rows = 100'000, .samples = 128, .threads = 2};
  const HeadMemory in_device = head_memory(options, shard, step);
  options.table.in_host_memory = true;
  const HeadMemory in_host = head_memory(options, shard, step);
  EXPECT_EQ(in_device.on_device(), in_device.table + in_device.step);
  EXPECT_EQ(in_host.table, in_device.table);
  EXPECT_EQ(in_host.on_device(), in_device.step + 3 * 100'000 * (4096 + 8));
}

TEST(HeadMemory, OfAGpuTheSmallerMemoryIsNamedAndTheOtherOneOffered) {
  PartialFcOptions options;
  options.table.device = at::Device(at::kCUDA, 0);
  const auto refusal = [&](const FreeMemory& free) -> std::string {
    try {
      require_head_memory(options, ClassShard(10 * kMillion, 0, 1),
                          {.rows = kMillion, .samples = 128, .threads = 2}, free);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  constexpr std::int64_t kGigabyte = 1'000'000'000;
  using ::testing::AllOf;
  using ::testing::HasSubstr;
  using ::testing::Not;
  EXPECT_THAT(refusal({22 * kGigabyte, 64 * kGigabyte}), HasSubstr("head.center_memory"));
  EXPECT_THAT(refusal({22 * kGigabyte, 8 * kGigabyte}), Not(HasSubstr("head.center_memory")));
  options.table.in_host_memory = true;
  EXPECT_EQ(refusal({22 * kGigabyte, 64 * kGigabyte}), "");
  EXPECT_THAT(refusal({22 * kGigabyte, 8 * kGigabyte}),
              AllOf(HasSubstr("8.00 GB of the host's are free"), HasSubstr("6 ranks"),
                    HasSubstr("20.48 GB in all"), Not(HasSubstr("sample_rate"))));
  EXPECT_THAT(refusal({4 * kGigabyte, 64 * kGigabyte}),
              AllOf(HasSubstr("4.00 GB are free"), HasSubstr("lower head.sample_rate"),
                    Not(HasSubstr("store them"))));
}

}  // namespace
}  // namespace pfc
