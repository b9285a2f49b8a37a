#include "model/norm_case.h"
#include "ranks.h"

namespace pfc {
namespace {

// In float32 the CPU's kernels are used, in float64 the plain operators.
const NormRun in_float32{torch::kFloat32, torch::kFloat32, torch::kFloat32};
constexpr double kTolerance = 1e-5;

class BatchNormPRelu : public testing::TestWithParam<NormCase> {};

TEST_P(BatchNormPRelu, KernelsEqualThePlainOperatorsInDoublePrecision) {
  expect_close(in_float32(GetParam()), norm_in_float64()(GetParam()), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, BatchNormPRelu,
    testing::Values(NormCase{8, 16, 28, 0, true}, NormCase{3, 64, 7, 0.5, true},
                    NormCase{2, 512, 5, 0, true}, NormCase{1, 48, 3, 0, true}, NormCase{8, 32, 14},
                    NormCase{2, 16, 2, 0, true}, NormCase{4, 20, 6, 0, true},
                    NormCase{4, 32, 6, 0, true, true}, NormCase{4, 20, 6, 0, false, true},
                    NormCase{4, 32, 6, 0.5, false, true, true}));

TEST(BatchNormPRelu, AMeanFarFromZeroCostsNoPrecisionOfTheVariance) {
  const NormCase far{8, 16, 28, 1000, true};
  const auto got = named(in_float32(far), "running_var"),
             want = named(norm_in_float64()(far), "running_var");
  EXPECT_LE(((got - want) / want).abs().max().item<double>(), 1e-5);
}

TEST(BatchNormPRelu, TheSameThreadsGiveTheSameBits) {
  const NormCase c{8, 32, 28, 0, true};
  const auto first = in_float32(c), second = in_float32(c);
  for (std::size_t i = 0; i < first.size(); ++i)
    EXPECT_TRUE(torch::equal(first[i].second, second[i].second)) << first[i].first;
}

TEST(RanksBatchNormPRelu, OverRanksEqualsTheWholeBatchWithTheKernelsAndWithThePlainOperators) {
  const std::vector<NormCase> cases = {{12, 16, 6, 0.5, true},  // kernels
                                       {12, 32, 3, 100},        // kernels, a mean far from zero
                                       {12, 20, 4, 0.5, true},  // plain operators
                                       {12, 512, 1, 0.5}};      // like the last layer
  for (const NormCase& c : cases) {
    const auto want = norm_in_float64()(c);
    on_ranks([&](Communicator& comm) {
      for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
        const NormRun run{torch::kFloat32, dtype, dtype, torch::kCPU, &comm};
        expect_close(run(c), want, kTolerance);
      }
    });
  }
}

}  // namespace
}  // namespace pfc
