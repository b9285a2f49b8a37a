#include "model/batch_norm_gpu.h"
#include "head/gpu_memory.h"
#include "model/norm_case.h"

namespace pfc {
namespace {

NormRun on_gpu_in(torch::Dtype maps) {
  return {maps, maps, torch::kFloat32, kGpu};
}

// More channels than a block has lanes for, more rows than one part, widths that fill no warp.
const std::vector<NormCase> kCases = {
    {.batch = 3, .channels = 8, .size = 9, .mean = 0.5},
    {.batch = 2, .channels = 64, .size = 28, .prelu = true},
    {.batch = 2, .channels = 512, .size = 5, .mean = -2, .prelu = true, .adds = true},
    {.batch = 2, .channels = 24, .size = 3, .adds = true},
    {.batch = 1, .channels = 264, .size = 7, .prelu = true},
    {.batch = 2, .channels = 64, .size = 14, .mean = 3, .into_next = true},
    {.batch = 2, .channels = 40, .size = 3, .into_next = true}};

TEST(GpuNorm, EqualsThePlainOperatorsInDoublePrecision) {
  for (const NormCase& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.channels << " channels, " << c.size << "²");
    expect_close(on_gpu_in(torch::kFloat32)(c), norm_in_float64()(c), 1e-5);
  }
}

TEST(GpuNorm, MapsOfHalfPrecisionAreRoundedAndNoMore) {
  for (const NormCase& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.channels << " channels, " << c.size << "²");
    for (const auto& [type, unit] :
         {std::pair(torch::kBFloat16, 1.0 / 256), {torch::kHalf, 1.0 / 2048}}) {
      const auto got = on_gpu_in(type)(c), want = norm_in_float64(type)(c);
      // Behind a sum that was rounded, what is made of it differs by several roundings.
      expect_close(got, want, (c.into_next ? 4 : 1.1) * unit);
      if (c.into_next) continue;
      for (const char* name : {"d_weight", "d_bias", "running_mean", "running_var"}) {
        const auto wanted = named(want, name);
        EXPECT_LE((named(got, name) - wanted).abs().max().item<double>(),
                  1e-5 * wanted.abs().max().item<double>())
            << name;
      }
    }
  }
}

TEST(GpuNorm, AMeanFarFromZeroCostsNoPrecisionOfTheVariance) {
  const NormCase far{.batch = 8, .channels = 16, .size = 28, .mean = 1000};
  const auto got = named(on_gpu_in(torch::kFloat32)(far), "running_var"),
             want = named(norm_in_float64()(far), "running_var");
  EXPECT_LE(((got - want) / want).abs().max().item<double>(), 1e-5);
}

TEST(GpuNorm, AMillionRowsOfOneSignSumExactly) {
  const std::int64_t rows = 1 << 20, channels = 8;
  const at::Tensor x = at::full({rows, channels}, 0.1, on_gpu(at::kFloat));
  x.narrow(0, 0, rows / 2).fill_(0.3);
  const auto vector = [&](double value) { return at::full({channels}, value, on_gpu(at::kFloat)); };
  const BatchNormState state{vector(1), vector(0), vector(0), vector(1), 1.0, 1e-5};
  ASSERT_TRUE(gpu_norm::takes(x, state));
  batch_norm_prelu(x, state);
  EXPECT_NEAR(state.running_mean[0].item<double>(), 0.2, 1e-7);
  EXPECT_NEAR(state.running_var[0].item<double>(), 0.01, 1e-7);
}

TEST(GpuNorm, EqualInputsGiveEqualBits) {
  const auto first = on_gpu_in(torch::kBFloat16)(kCases[1]),
             second = on_gpu_in(torch::kBFloat16)(kCases[1]);
  for (std::size_t i = 0; i < first.size(); ++i)
    EXPECT_TRUE(torch::equal(first[i].second, second[i].second)) << first[i].first;
}

}  // namespace
}  // namespace pfc
