#include "pfc/train/benchmark.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

TEST(HeadBenchmark, SaysWhatWasSampledAndWhatTheTableHolds) {
  HeadBenchmarkOptions options;
  options.head.table.dim = 16;
  options.identities = 5000;
  options.sample_rate = 0.1;
  options.batch_size = 8;
  options.steps = 3;
  const HeadBenchmarkResult result = benchmark_head(options, *make_self_communicator());
  EXPECT_GE(result.centers, 500);
  EXPECT_LE(result.centers, 508);
  EXPECT_EQ(result.table_bytes, 5000 * 16 * 4 * 2);
  EXPECT_GT(result.seconds, 0);
  EXPECT_GT(result.memory_bytes, result.table_bytes);
}

}  // namespace
}  // namespace pfc
