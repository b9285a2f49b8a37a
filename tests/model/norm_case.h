#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/batch_norm.h"

namespace pfc {

/// What a normalisation did, in the order in which it is compared.
using Normalised = std::vector<std::pair<std::string, torch::Tensor>>;

struct NormCase {
  std::int64_t batch, channels, size;
  double mean = 0;
  bool prelu = false, adds = false;  ///< adds: a residual
  bool into_next = false;            ///< norm_add_norm; it has a residual and no PReLU
};

/// One step of batch_norm_prelu or norm_add_norm on a problem that depends only on the case. Maps
/// are rounded to `rounded`, then made `maps`; parameters are `numbers`. With `comm` its ranks
/// share the images, and the result is put together: gradients of parameters are sums over ranks.
struct NormRun {
  torch::Dtype rounded, maps, numbers;
  torch::Device device = torch::kCPU;
  Communicator* comm = nullptr;

  Normalised operator()(const NormCase& c) const {
    auto generator = at::detail::createCPUGenerator(1);
    const auto normal = [&](torch::IntArrayRef shape) { return torch::randn(shape, generator); };
    const auto parameter = [&](const torch::Tensor& value) {
      return value.to(device, numbers).detach().requires_grad_();
    };
    const auto share = [&](const torch::Tensor& x) {
      const std::int64_t images = comm ? c.batch / comm->world() : c.batch;
      return x.narrow(0, comm ? comm->rank() * images : 0, images)
          .to(rounded)
          .to(device, maps)
          .contiguous(torch::MemoryFormat::ChannelsLast);
    };
    const auto all = [&](const torch::Tensor& x) {
      const auto whole = comm ? comm->all_gather(x.detach().contiguous()).wait() : x.detach();
      return whole.cpu();
    };
    const auto sum = [&](const torch::Tensor& x) {
      auto total = x.clone();
      return (comm ? comm->all_reduce(total).wait() : total).cpu();
    };
    const auto map = [&](double mean) {
      return normal({c.batch, c.channels, c.size, c.size}) * 2 + mean;
    };
    struct Parameters {
      torch::Tensor weight, bias, running_mean, running_var;
    };
    const auto parameters = [&] {
      Parameters p;
      p.weight = parameter(normal({c.channels}));
      p.bias = parameter(normal({c.channels}));
      p.running_mean = normal({c.channels}).to(device, numbers);
      p.running_var = normal({c.channels}).abs().to(device, numbers);
      return p;
    };
    const auto state = [&](const Parameters& p) {
      return BatchNormState{p.weight, p.bias, p.running_mean, p.running_var, 0.1, 1e-5, comm};
    };

    Normalised result;
    const auto tell = [&](const std::string& name, const Parameters& p) {
      result.insert(result.end(), {{name + "d_weight", sum(p.weight.grad())},
                                   {name + "d_bias", sum(p.bias.grad())},
                                   {name + "running_mean", p.running_mean.cpu()},
                                   {name + "running_var", p.running_var.cpu()}});
    };
    const auto x = share(map(c.mean)).requires_grad_();
    const auto upstream = share(map(0));
    const Parameters own = parameters();
    torch::Tensor residual, slope;
    if (c.adds || c.into_next) residual = share(map(0.5)).requires_grad_();
    if (c.prelu) slope = parameter(normal({c.channels}) * 0.3);
    if (c.into_next) {
      const Parameters next = parameters();
      const auto both = norm_add_norm(x, state(own), residual, state(next));
      (both.normalised * upstream + both.sum * share(map(0))).sum().backward();
      result = {{"sum", all(both.sum)}, {"y", all(both.normalised)}};
      tell("next ", next);
    } else {
      const auto y = batch_norm_prelu(x, state(own), slope, residual);
      y.backward(upstream);
      EXPECT_TRUE(y.is_contiguous(torch::MemoryFormat::ChannelsLast));
      result = {{"y", all(y)}};
    }
    result.emplace_back("dx", all(x.grad()));
    if (residual.defined()) result.emplace_back("d_residual", all(residual.grad()));
    if (slope.defined()) result.emplace_back("d_slope", sum(slope.grad()));
    tell("", own);
    return result;
  }
};

/// In float64, by the plain operators.
inline NormRun norm_in_float64(torch::Dtype rounded = torch::kFloat32) {
  return {rounded, torch::kFloat64, torch::kFloat64};
}

inline void expect_close(const Normalised& got, const Normalised& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    const auto& [name, wanted] = want[i];
    const double scale = wanted.abs().max().item<double>();
    const double apart = (got[i].second.to(torch::kFloat64) - wanted).abs().max().item<double>();
    EXPECT_LE(apart, tolerance * scale) << name;
  }
}
inline torch::Tensor named(const Normalised& all, const std::string& name) {
  for (const auto& [key, value] : all) {
    if (key == name) return value;
  }
  return {};
}

}  // namespace pfc
