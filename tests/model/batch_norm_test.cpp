#include "model/batch_norm.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "ranks.h"

namespace pfc {
namespace {

struct Normalised {
  torch::Tensor y, dx, d_weight, d_bias, d_slope, running_mean, running_var;
};

struct Case {
  std::int64_t batch, channels, size;
  double mean;
  bool prelu;
};

/// One step of batch_norm_prelu in `dtype` on a problem that depends only on the case. With `comm`
/// its ranks share the images, and the result is put together: gradients of parameters are sums
/// over ranks.
Normalised run(const Case& c, torch::Dtype dtype, Communicator* comm = nullptr) {
  auto generator = at::detail::createCPUGenerator(1);
  const auto normal = [&](torch::IntArrayRef shape) { return torch::randn(shape, generator); };
  const auto in = [&](const torch::Tensor& value) {
    return value.to(dtype).detach().requires_grad_();
  };
  const auto share = [&](const torch::Tensor& x) {
    const std::int64_t images = comm ? c.batch / comm->world() : c.batch;
    return x.narrow(0, comm ? comm->rank() * images : 0, images)
        .contiguous(torch::MemoryFormat::ChannelsLast);
  };
  const auto all = [&](const torch::Tensor& x) {
    return comm ? comm->all_gather(x.detach().contiguous()).wait() : x.detach();
  };
  const auto sum = [&](const torch::Tensor& x) {
    auto total = x.clone();
    return comm ? comm->all_reduce(total).wait() : total;
  };

  const auto image = normal({c.batch, c.channels, c.size, c.size}) * 2 + c.mean;
  const auto upstream = normal(image.sizes()).to(dtype);
  const auto weight = in(normal({c.channels})), bias = in(normal({c.channels}));
  const auto slope = c.prelu ? in(normal({c.channels}) * 0.3) : torch::Tensor();
  const auto x = in(share(image));
  const auto running_mean = normal({c.channels}).to(dtype);
  const auto running_var = normal({c.channels}).abs().to(dtype);

  const auto y =
      batch_norm_prelu(x, {weight, bias, running_mean, running_var, 0.1, 1e-5, comm}, slope);
  y.backward(share(upstream));
  return {all(y),
          all(x.grad()),
          sum(weight.grad()),
          sum(bias.grad()),
          c.prelu ? sum(slope.grad()) : torch::Tensor(),
          running_mean,
          running_var};
}

void expect_close(const torch::Tensor& got, const torch::Tensor& want, const char* what) {
  if (!want.defined()) return;
  const double scale = want.abs().max().item<double>();
  EXPECT_LE((got.to(torch::kFloat64) - want).abs().max().item<double>(), 1e-5 * scale) << what;
}

void expect_close(const Normalised& got, const Normalised& want) {
  expect_close(got.y, want.y, "y");
  expect_close(got.dx, want.dx, "dx");
  expect_close(got.d_weight, want.d_weight, "d_weight");
  expect_close(got.d_bias, want.d_bias, "d_bias");
  expect_close(got.d_slope, want.d_slope, "d_slope");
  expect_close(got.running_mean, want.running_mean, "running_mean");
  expect_close(got.running_var, want.running_var, "running_var");
}

class BatchNormPRelu : public testing::TestWithParam<Case> {};

// float32 uses the kernels, float64 the plain operators.
TEST_P(BatchNormPRelu, KernelsEqualThePlainOperatorsInDoublePrecision) {
  const auto got = run(GetParam(), torch::kFloat32);
  const auto want = run(GetParam(), torch::kFloat64);
  EXPECT_TRUE(got.y.is_contiguous(torch::MemoryFormat::ChannelsLast));
  expect_close(got, want);
}

INSTANTIATE_TEST_SUITE_P(Shapes, BatchNormPRelu,
                         testing::Values(Case{8, 16, 28, 0, true}, Case{3, 64, 7, 0.5, true},
                                         Case{2, 512, 5, 0, true}, Case{1, 48, 3, 0, true},
                                         Case{8, 32, 14, 0, false}, Case{2, 16, 2, 0, true},
                                         Case{4, 20, 6, 0, true}));

TEST(BatchNormPRelu, AMeanFarFromZeroCostsNoPrecisionOfTheVariance) {
  const Case far{8, 16, 28, 1000, true};
  const auto got = run(far, torch::kFloat32), want = run(far, torch::kFloat64);
  EXPECT_LE(((got.running_var - want.running_var) / want.running_var).abs().max().item<double>(),
            1e-5);
}

TEST(BatchNormPRelu, TheSameThreadsGiveTheSameBits) {
  const Case c{8, 32, 28, 0, true};
  const auto first = run(c, torch::kFloat32), second = run(c, torch::kFloat32);
  EXPECT_TRUE(torch::equal(first.dx, second.dx));
  EXPECT_TRUE(torch::equal(first.d_slope, second.d_slope));
}

TEST(RanksBatchNormPRelu, OverRanksEqualsTheWholeBatchWithTheKernelsAndWithThePlainOperators) {
  const std::vector<Case> cases = {{12, 16, 6, 0.5, true},     // kernels
                                   {12, 32, 3, 100, false},    // kernels, a mean far from zero
                                   {12, 20, 4, 0.5, true},     // plain operators
                                   {12, 512, 1, 0.5, false}};  // like the last layer
  for (const Case& c : cases) {
    const auto want = run(c, torch::kFloat64);
    on_ranks([&](Communicator& comm) {
      for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
        const auto got = run(c, dtype, &comm);
        expect_close(got, want);
      }
    });
  }
}

}  // namespace
}  // namespace pfc
