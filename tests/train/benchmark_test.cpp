#include "pfc/train/benchmark.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "ranks.h"

namespace pfc {
namespace {

BenchmarkOptions small() {
  BenchmarkOptions options;
  options.head.table.dim = 16;
  options.identities = 5000;
  options.sample_rate = 0.1;
  options.batch_size = 24;
  options.steps = 2;
  return options;
}

TEST(RanksBenchmark, SaysWhatWasSampledAndWhatTheTableOfARankHolds) {
  on_ranks([](Communicator& comm) {
    const BenchmarkResult result = benchmark(small(), comm);
    EXPECT_GE(result.centers, 500);
    EXPECT_LE(result.centers, 524);
    const std::int64_t rows = (5000 + comm.world() - 1) / comm.world();
    EXPECT_EQ(result.table_bytes, rows * 16 * 4 * 2);
    EXPECT_GT(result.seconds, 0);
    EXPECT_GT(result.memory_bytes, result.table_bytes);
  });
}

TEST(RanksBenchmark, TrainsANetworkTooAndTakesLongerForIt) {
  on_ranks([](Communicator& comm) {
    const double alone = benchmark(small(), comm).seconds;
    BenchmarkOptions options = small();
    options.network = "tiny";
    EXPECT_GT(benchmark(options, comm).seconds, alone);
  });
}

TEST(Benchmark, RefusesABatchThatDoesNotDivide) {
  on_ranks([](Communicator& comm) {
    if (comm.world() == 1) return;
    BenchmarkOptions options = small();
    options.batch_size = comm.world() + 1;
    EXPECT_THAT([&] { benchmark(options, comm); },
                testing::ThrowsMessage<Error>(testing::HasSubstr("does not divide over")));
  });
}

}  // namespace
}  // namespace pfc
