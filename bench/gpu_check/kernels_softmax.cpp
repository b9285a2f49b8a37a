#include <cmath>
#include <string>
#include <vector>

#include "base/ceil_divide.h"
#include "gpu_check/kernel_case.h"
#include "pfc/base/error.h"

namespace pfc::gpu_check {
namespace {

/// Two tiles with the given numbers of classes.
void check_softmax(at::ScalarType type, double threshold, std::int64_t first = 2003,
                   std::int64_t second = 1500) {
  const std::int64_t samples = 96;
  const auto to_width = [](std::int64_t n) { return ceil_divide(n, gpu::kWidth) * gpu::kWidth; };
  const std::int64_t padded[] = {to_width(first), to_width(second)};
  const float scale = 64;
  const auto on_gpu = at::TensorOptions(kGpu);
  const at::Tensor cosines = torch::rand({samples, first + second}, on_gpu) * 1.6 - 0.8;
  const at::Tensor targets = torch::randint(-1, first + second, {samples}, on_gpu.dtype(at::kInt));
  const at::Tensor maximum = torch::full({samples}, -INFINITY, on_gpu);
  const at::Tensor sum = torch::zeros({samples}, on_gpu.dtype(at::kDouble));
  constexpr std::int64_t kParts = 3;
  const at::Tensor d = torch::empty({kParts, samples, kDim}, on_gpu);
  const at::Tensor tile_maximum = torch::empty({2, samples}, on_gpu);
  const gpu::SoftmaxState state{maximum.data_ptr<float>(),
                                sum.data_ptr<double>(),
                                d.data_ptr<float>(),
                                kParts,
                                samples,
                                kDim};
  std::vector<at::Tensor> probabilities;
  std::vector<at::Tensor> tiles;
  // Where the classes end, for either tile.
  const at::Tensor ends[] = {send({.count = first}), send({.count = first + second})};
  for (int t = 0; t < 2; ++t) {
    const std::int64_t begin = t * first, count = t == 0 ? first : second;
    const at::Tensor z = torch::full({samples, padded[t]}, 0.9, on_gpu);  // beyond the last class
    z.narrow(1, 0, count).copy_(cosines.narrow(1, begin, count));
    tiles.push_back(z);
    probabilities.push_back(torch::full({samples, padded[t]}, NAN, on_gpu.dtype(type)));
    d.fill_(t == 0 ? NAN : 1);  // before the first tile there is no sum
    gpu::softmax_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}}, CosFace(),
                      {z.data_ptr<float>(), scale, static_cast<float>(threshold)},
                      targets.const_data_ptr<std::int32_t>(), state, operand(probabilities.back()),
                      tile_maximum[t].data_ptr<float>(), stream());
  }
  at::Tensor logits = cosines.to(at::kDouble);
  logits = torch::where(logits > threshold, torch::full_like(logits, -INFINITY), logits);
  const at::Tensor own_column =
      torch::arange(first + second, on_gpu.dtype(at::kInt)).eq(targets.unsqueeze(1));
  logits = logits.masked_fill(own_column, -INFINITY) * scale;
  const at::Tensor most = logits.amax(1);
  const std::string what = "softmax_tile " + name(type) + (threshold < 1 ? ", filtered" : "") +
                           (second > first ? ", large tiles" : "");
  expect_below(what + ": maximum", error_of(maximum, most), 1e-6);
  expect_below(what + ": sum", error_of(sum, (logits - most.unsqueeze(1)).exp().sum(1)), 1e-6);
  const at::Tensor shrink = (tile_maximum[0] - tile_maximum[1]).to(at::kDouble).exp().view({-1, 1});
  expect_below(what + ": the sum so far", error_of(d, shrink.expand({kParts, samples, kDim})),
               1e-6);
  for (int t = 0; t < 2; ++t) {
    const std::int64_t begin = t * first, count = t == 0 ? first : second;
    const at::Tensor wanted =
        ((logits.narrow(1, begin, count) - tile_maximum[t].to(at::kDouble).unsqueeze(1)).exp() *
         gpu::kRaised)
            .to(at::kFloat)
            .to(type);
    const at::Tensor found = probabilities[static_cast<std::size_t>(t)];
    expect_below(what + ": probabilities of tile " + std::to_string(t) + " so rounded",
                 error_of(found.narrow(1, 0, count), wanted), limit_of(type));
    if (found.narrow(1, count, padded[t] - count).to(at::kFloat).abs().sum().item<double>() != 0)
      throw Error(what + ": columns beyond the last are not 0");
    const at::Tensor p = torch::full({samples, padded[t]}, NAN, on_gpu.dtype(type));
    gpu::exp_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}}, CosFace(),
                  {tiles[static_cast<std::size_t>(t)].data_ptr<float>(), scale,
                   static_cast<float>(threshold)},
                  targets.const_data_ptr<std::int32_t>(), tile_maximum[t].const_data_ptr<float>(),
                  operand(p), stream());
    expect_below("exp_tile " + name(type) + " so rounded", error_of(p.narrow(1, 0, count), wanted),
                 limit_of(type));
  }
}

/// Three lanes; one of them met no class for the first sample. The class of every other sample
/// belongs to another rank.
void check_merge() {
  constexpr std::int64_t kLanes = 3, kParts = 2, kSamples = 96;
  constexpr float kScale = 64;
  const at::TensorOptions on_gpu(kGpu);
  const at::Tensor maximum = random({kLanes, kSamples}) * 20,
                   sum = (random({kLanes, kSamples}).abs() + 1).to(at::kDouble),
                   d = random({kLanes, kParts, kSamples, kDim});
  maximum[1][0] = -INFINITY;
  const at::Tensor most = std::get<0>(maximum.max(0)).to(at::kDouble);
  const at::Tensor factor = (maximum.to(at::kDouble) - most).exp();
  const at::Tensor wanted_sum = (factor * sum).sum(0);
  const at::Tensor wanted_d = (factor.view({kLanes, 1, kSamples, 1}) * d).sum(0).sum(0);
  const at::Tensor targets = torch::arange(kSamples, on_gpu.dtype(at::kInt)).remainder(2) - 1;
  const at::Tensor phi = torch::rand({kSamples}, on_gpu.dtype(at::kDouble)),
                   locals = torch::full({kSamples, 3}, NAN, on_gpu.dtype(at::kDouble));
  gpu::merge_softmax(
      {maximum.data_ptr<float>(), sum.data_ptr<double>(), d.data_ptr<float>(), kParts, kSamples,
       kDim},
      kLanes, {.targets = targets.const_data_ptr<std::int32_t>(), .phi = phi.data_ptr<double>()},
      kScale, locals.data_ptr<double>(), stream());
  expect_below("merge_softmax: maximum", error_of(maximum[0], most), 1e-6);
  expect_below("merge_softmax: sum", error_of(sum[0], wanted_sum), 1e-6);
  expect_below("merge_softmax: the sum so far", error_of(d[0][0], wanted_d), 1e-6);
  const at::Tensor own = targets.ge(0);
  expect_below("merge_softmax: what other ranks are told",
               error_of(locals.masked_select(own.unsqueeze(1)).view({-1, 3}),
                        at::stack({most, wanted_sum, phi * kScale}, 1)
                            .masked_select(own.unsqueeze(1))
                            .view({-1, 3})),
               1e-6);
  if (!locals.select(1, 2).masked_select(own.logical_not()).eq(-INFINITY).all().item<bool>())
    fail("merge_softmax: classes of other ranks have a logit");
}

/// The start of a micro-batch, and how its samples' own classes are treated: 120 rows, and every
/// third sample's class belongs to another rank.
void check_own_classes(at::ScalarType type) {
  constexpr std::int64_t kSamples = 96, kLanes = 2;
  const Case c(type, 500, 120);
  const at::TensorOptions on_gpu(kGpu);
  const at::Tensor embeddings = random({kSamples, kDim}) / std::sqrt(double{kDim}),
                   kept = torch::full({kSamples, kDim}, NAN, on_gpu),
                   x = torch::full({kSamples, kDim}, NAN, on_gpu.dtype(at::kBFloat16)),
                   maximum = torch::full({kLanes, kSamples}, NAN, on_gpu),
                   sum = torch::full({kLanes, kSamples}, NAN, on_gpu.dtype(at::kDouble));
  const gpu::Samples samples{kept.data_ptr<float>(), operand(x), kSamples};
  gpu::begin_samples(embeddings.const_data_ptr<float>(), samples,
                     {.maximum = maximum.data_ptr<float>(),
                      .sum = sum.data_ptr<double>(),
                      .samples = kSamples,
                      .dim = kDim},
                     kLanes, stream());
  if (!kept.equal(embeddings) || !x.equal(embeddings.to(at::kBFloat16)) ||
      !maximum.cpu().eq(-INFINITY).all().item<bool>() || !sum.cpu().eq(0).all().item<bool>())
    fail("begin_samples: not the samples, or a softmax that met a class");

  std::vector<std::int32_t> places;
  for (std::int32_t i = 0; i < kSamples; ++i) places.push_back(i % 3 == 0 ? -1 : (5 * i) % 120);
  const at::Tensor targets = torch::tensor(places, at::kInt).to(kGpu);
  const auto of_samples = [&] { return torch::zeros({kSamples}, on_gpu.dtype(at::kDouble)); };
  const auto of_rows = [&] { return torch::zeros({kSamples, kDim}, on_gpu); };
  const at::Tensor phi = of_samples(), slope = of_samples(), own_cosine = of_samples(),
                   nearest = torch::zeros({kSamples}, on_gpu.dtype(at::kInt)), d_sample = of_rows(),
                   d_center = of_rows();
  const gpu::OwnClasses own{.targets = targets.const_data_ptr<std::int32_t>(),
                            .nearest = nearest.data_ptr<std::int32_t>(),
                            .cosine = own_cosine.data_ptr<double>(),
                            .phi = phi.data_ptr<double>(),
                            .slope = slope.data_ptr<double>(),
                            .d_sample = d_sample.data_ptr<float>(),
                            .d_center = d_center.data_ptr<float>()};
  gpu::own_cosines(c.table(), c.sampled(120), samples, own, stream());
  gpu::apply_loss(
      ArcFace{.m = 0.5},
      {.samples = kSamples, .cosines = own.cosine, .random = CounterRandom(1, RandomStream::kLoss)},
      own, stream());
  const auto unit = [](const at::Tensor& of) { return of / of.norm(2, 1, true); };
  const at::Tensor owned = targets.cpu().ge(0).to(at::kDouble).unsqueeze(1);
  const at::Tensor sample = unit(embeddings.cpu().to(at::kDouble)),
                   center =
                       unit(c.weights.cpu()
                                .to(at::kDouble)
                                .index_select(0, c.rows.cpu().index_select(
                                                     0, targets.cpu().clamp_min(0).to(at::kLong))));
  const at::Tensor cosine = (sample * center).sum(at::IntArrayRef{1}, true);
  const at::Tensor theta = cosine.acos();
  const std::string what = "own_cosines and apply_loss, " + name(type) + ": ";
  expect_below(what + "margin", error_of(phi, ((theta + 0.5).cos() * owned).squeeze(1)), 1e-12);
  expect_below(what + "its slope",
               error_of(slope, ((theta + 0.5).sin() / theta.sin() * owned).squeeze(1)), 1e-12);
  expect_below(what + "cosine by the sample",
               error_of(d_sample, (center - cosine * sample) * owned), 1e-5);
  expect_below(what + "cosine by the centre",
               error_of(d_center, (sample - cosine * center) * owned), 1e-5);
}

/// Three ranks' parts of a softmax. This rank owns the class of every third sample; every fifth
/// sample is not valid.
void check_join() {
  constexpr std::int64_t kWorld = 3, kSamples = 95;
  constexpr float kScale = 32;
  const at::TensorOptions on_gpu(kGpu);
  at::Tensor all = random({kWorld, kSamples, 3}).cpu().to(at::kDouble);
  all.select(2, 1).abs_().add_(1);
  const at::Tensor numbers = torch::arange(kSamples);
  for (std::int64_t rank = 0; rank < kWorld; ++rank)
    all.select(2, 2)[rank].masked_fill_(numbers.remainder(kWorld).ne(rank), -INFINITY);
  const at::Tensor
      valid = numbers.remainder(5).ne(4).to(at::kFloat).to(kGpu),
      targets = torch::where(numbers.remainder(kWorld).eq(0), numbers, -1).to(at::kInt).to(kGpu),
      slope = torch::rand({kSamples}, at::kDouble).to(kGpu), sums = random({kSamples, kDim}),
      d_sample = random({kSamples, kDim}), d_center = random({kSamples, kDim}),
      parts = all.to(kGpu), maximum = parts.select(2, 0)[0].to(at::kFloat),
      d = torch::full({kSamples, kDim}, NAN, on_gpu),
      log_sum = torch::full({kSamples}, NAN, on_gpu.dtype(at::kDouble)),
      count = torch::full({1}, NAN, on_gpu), worth = torch::full({1}, NAN, on_gpu),
      skip = torch::full({1}, NAN, on_gpu), loss = torch::full({1}, NAN, on_gpu.dtype(at::kDouble)),
      losses = torch::full({kSamples}, NAN, on_gpu.dtype(at::kDouble));
  const at::Tensor center_before = d_center.cpu().to(at::kDouble);
  gpu::begin_loss(valid.const_data_ptr<float>(), kSamples, count.data_ptr<float>(),
                  loss.data_ptr<double>(), skip.data_ptr<float>(), stream());
  const gpu::JoinedSoftmax joined{.all = parts.const_data_ptr<double>(),
                                  .valid = valid.const_data_ptr<float>(),
                                  .count = count.const_data_ptr<float>(),
                                  .world = kWorld,
                                  .samples = kSamples,
                                  .log_sum = log_sum.data_ptr<double>(),
                                  .losses = losses.data_ptr<double>(),
                                  .worth = worth.data_ptr<float>(),
                                  .loss = loss.data_ptr<double>(),
                                  .skip = skip.data_ptr<float>()};
  gpu::join_softmax(joined,
                    {.maximum = maximum.data_ptr<float>(),
                     .d_embeddings = sums.data_ptr<float>(),
                     .samples = kSamples,
                     .dim = kDim},
                    {.targets = targets.const_data_ptr<std::int32_t>(),
                     .slope = slope.data_ptr<double>(),
                     .d_sample = d_sample.data_ptr<float>(),
                     .d_center = d_center.data_ptr<float>()},
                    kScale, d.data_ptr<float>(), stream());
  const at::Tensor target = all.select(2, 2).amax(0),
                   others = (all.select(2, 0) + all.select(2, 1).log()).logsumexp(0),
                   whole = at::logaddexp(others, target), rest = 1 - (target - whole).exp();
  const at::Tensor v = valid.cpu().to(at::kDouble), share = v / v.sum(), of_loss = whole - target;
  const at::Tensor own = rest * slope.cpu() * targets.cpu().ge(0) * v;
  const at::Tensor of_others =
      kScale * share * (all.select(2, 0)[0] - whole).exp() / double{gpu::kRaised};
  expect_below("begin_loss, join_softmax: loss", error_of(loss, (of_loss * share).sum().view({1})),
               1e-6);
  expect_below("join_softmax: its samples'", error_of(losses, of_loss * v), 1e-6);
  expect_below("join_softmax: gradient of embeddings",
               error_of(d, of_others.unsqueeze(1) * sums.cpu() -
                               (kScale * share * own).unsqueeze(1) * d_sample.cpu()),
               1e-5);
  constexpr double kTwice = double{gpu::kRaised} * gpu::kRaised;
  const at::Tensor is_owned = targets.cpu().ge(0).unsqueeze(1);
  expect_below("join_softmax: that of own centres",
               error_of(d_center, at::where(is_owned, (own * kTwice).unsqueeze(1) * center_before,
                                            center_before)),
               1e-5);
  expect_below("join_softmax: what a gradient is worth",
               error_of(worth, kScale / (v.sum() * kTwice).view({1})), 1e-6);
  if (skip.cpu().item<float>() != 0) fail("join_softmax: a finite loss is to be skipped");

  // Weighted for one tile, then for another in which every second maximum is the same.
  const at::Tensor x = random({kSamples, kDim}), before = torch::rand({kSamples}).sub(3).to(kGpu),
                   now = (before.cpu() + 0.25 * numbers.remainder(2)).to(kGpu);
  const at::Tensor weighted = torch::full({kSamples, kDim}, NAN, on_gpu);
  const gpu::Samples samples{.embeddings = x.data_ptr<float>(), .count = kSamples};
  const auto weigh = [&](const at::Tensor& maxima, const float* last) {
    gpu::weigh_embeddings(samples, joined, maxima.const_data_ptr<float>(), last, kDim,
                          operand(weighted), stream());
    const at::Tensor factor = v * (maxima.cpu().to(at::kDouble) - whole).exp();
    return error_of(weighted, (factor * double{gpu::kRaised}).unsqueeze(1) * x.cpu());
  };
  expect_below("weigh_embeddings", weigh(before, nullptr), 1e-5);
  expect_below("weigh_embeddings, some maxima are the last tile's",
               weigh(now, before.const_data_ptr<float>()), 1e-5);
}

}  // namespace

void check_softmax_kernels() {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    check_softmax(type, 2);
    check_softmax(type, 2, 5003, 9001);
  }
  check_softmax(at::kFloat, 0.3);
  check_merge();
  for (const auto type : {at::kFloat, at::kBFloat16}) check_own_classes(type);
  check_join();
}

}  // namespace pfc::gpu_check
