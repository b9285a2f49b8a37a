#include "head/kernels/kernels.h"

#include <c10/cuda/CUDAStream.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "gpu_check/gpu_check.h"
#include "head/staged_table.h"
#include "head/table_view.h"
#include "head/upload.h"
#include "pfc/base/error.h"

namespace pfc::gpu_check {
namespace {

namespace gpu = kernels::cuda;

kernels::Row row_of(const at::Tensor& x, std::int64_t row) {
  auto* const data = static_cast<std::byte*>(x.data_ptr());
  return {data + row * x.size(1) * static_cast<std::int64_t>(x.element_size()), number_type_of(x)};
}

double limit_of(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : 1e-3;
}

/// What a step's launches read, on the GPU.
at::Tensor send(const gpu::StepScalars& scalars) {
  return at::from_blob(const_cast<gpu::StepScalars*>(&scalars), {sizeof(scalars)}, at::kByte)
      .to(kGpu);
}
const gpu::StepScalars* pointer(const at::Tensor& scalars) {
  return static_cast<const gpu::StepScalars*>(scalars.data_ptr());
}

/// A table and some of its rows, of which samples own kOwned.
struct Case {
  static constexpr std::int64_t kOwned = 3;
  at::Tensor weights, momentum, squares, updates, rows, scalars;

  Case(at::ScalarType type, std::int64_t count, std::int64_t picked)
      : weights(random({count, kDim}, type)),
        momentum(random({count, kDim}, type) * 0.1),
        squares(random({count, kDim}).square().mul_(0.01).to(type)),
        updates(torch::randint(0, 9, {count}, at::TensorOptions(kGpu).dtype(at::kInt))),
        rows(std::get<0>(torch::randperm(count, at::TensorOptions(kGpu).dtype(at::kLong))
                             .narrow(0, 0, picked)
                             .sort())),
        scalars(send({.count = picked,
                      .owned = kOwned,
                      .sgd = {0.1f, 0.9f, 5e-4f},
                      .lr = 0.1,
                      .weight_decay = 5e-4,
                      .change = 6})) {}

  gpu::Table table() const {
    return {.weights = weights.data_ptr(),
            .momentum = momentum.data_ptr(),
            .squares = squares.data_ptr(),
            .updates = updates.data_ptr<std::int32_t>(),
            .weight_type = number_type_of(weights),
            .state_type = number_type_of(momentum),
            .dim = kDim};
  }
  gpu::SampledRows sampled(std::int64_t size) const {
    return {rows.const_data_ptr<std::int64_t>(), pointer(scalars), 0, size};
  }
};

/// The rows that a GPU lists are those that the host does.
void check_list() {
  const HeadCase c{.identities = 100'003, .rate = 0.1, .batch = 300};
  for (int rank = 0; rank < 3; ++rank) {
    const ClassShard shard(c.identities, rank, 3);
    for (const double rate : {0.0, 0.1, 0.9}) {
      const ClassSampler sampler({.sample_rate = rate, .seed = 5}, shard);
      for (std::int64_t step = 0; step < 20; ++step) {
        const SampledClasses classes = sampler.draw(step, labels_of(c, step));
        const at::Tensor rows =
            torch::full({classes.count()}, -1, at::TensorOptions(kGpu).dtype(at::kLong));
        list_on_gpu(classes, rows);
        std::vector<std::int64_t> wanted;
        for (const LocalRow row : classes.rows()) wanted.push_back(row.v);
        if (!rows.cpu().equal(torch::tensor(wanted, at::kLong))) {
          fail("list_rows: other rows than the host's at rate " + std::to_string(rate));
          return;
        }
      }
    }
  }
  std::printf("list_rows: the host's rows, 180 draws\n");
}

void check_gather(at::ScalarType table_type, at::ScalarType unit_type) {
  const Case c(table_type, 5000, 1003);
  const std::int64_t padded = 1008;
  const at::Tensor unit =
      torch::full({padded, kDim}, NAN, at::TensorOptions(kGpu).dtype(unit_type));
  const at::Tensor inverse = torch::full({padded}, NAN, at::TensorOptions(kGpu));
  gpu::gather_normalize(c.table(), c.sampled(padded), operand(unit), inverse.data_ptr<float>(),
                        stream());
  const at::Tensor w = c.weights.index_select(0, c.rows).to(at::kDouble);
  const at::Tensor wanted = w / w.norm(2, 1, true);
  const std::string what = "gather_normalize " + name(table_type) + " to " + name(unit_type);
  const double rounding = unit_type == at::kBFloat16 ? 2e-3 : unit_type == at::kHalf ? 3e-4 : 1e-5;
  expect_below(what + ", of float64", error_of(unit.narrow(0, 0, 1003), wanted), rounding);
  expect_below(what + ", of float64 so rounded",
               error_of(unit.narrow(0, 0, 1003), wanted.to(at::kFloat).to(unit_type)),
               limit_of(unit_type));
  if (unit.narrow(0, 1003, 5).to(at::kFloat).abs().sum().item<double>() != 0)
    throw Error(what + ": rows beyond the last are not 0");
  at::Tensor on_cpu = torch::empty({1003, kDim});
  const at::Tensor weights = c.weights.cpu(), rows = c.rows.cpu();
  for (std::int64_t i = 0; i < 1003; ++i) {
    kernels::normalize_row(row_of(weights, rows[i].item<std::int64_t>()), kDim,
                           on_cpu.data_ptr<float>() + i * kDim);
  }
  expect_below(what + ", of the CPU's so rounded",
               error_of(unit.narrow(0, 0, 1003), on_cpu.to(unit_type)), limit_of(unit_type));
}

/// Rows of a table in pinned host memory go to parts in the GPU's, from one to the other and back.
void check_parts() {
  const ClassShard shard(5000, 0, 1);
  CenterTableOptions options{.dim = kDim, .device = kGpu, .in_host_memory = true};
  options.optimizer.kind = CenterOptimizer::Kind::kAdamW;
  options.state = NumberType::kBFloat16;
  const CenterTable table(shard, options);
  table.momentum().normal_();
  table.updates().random_(0, 99);
  StagedTable staged(table, c10::cuda::getCurrentCUDAStream());
  staged.reserve(2000);
  const ClassSampler sampler({.sample_rate = 0.3}, shard);
  const at::Tensor weights = table.weights().clone(), updates = table.updates().clone();
  for (std::int64_t step = 0; step < 6; ++step) {
    const SampledClasses classes = sampler.draw(step, {});
    const gpu::Table part = staged.part(staged.begin(classes), {});
    staged.prefetch(sampler.draw(step + 1, {}));
    // Whatever the part holds is counted up in place.
    const std::int64_t count = classes.count();
    const at::TensorOptions on_gpu(kGpu);
    const auto counted_up = [&](void* data, at::IntArrayRef sizes, at::ScalarType type) {
      at::for_blob(data, sizes)
          .options(on_gpu.dtype(type))
          .target_device(kGpu)
          .make_tensor()
          .add_(1);
    };
    counted_up(part.weights, {count, kDim}, at::kFloat);
    counted_up(part.updates, {count}, at::kInt);
    staged.end();
    std::vector<std::int64_t> rows;
    for (const LocalRow row : classes.rows()) rows.push_back(row.v);
    const at::Tensor places = torch::tensor(rows, at::kLong);
    weights.index_add_(0, places, torch::ones({count, kDim}));
    updates.index_add_(0, places, torch::ones({count}, at::kInt));
  }
  staged.drain();
  if (!table.weights().equal(weights) || !table.updates().equal(updates))
    fail("load_rows, forward_rows, store_rows: the table is not as it should be");
  else
    std::printf("load_rows, forward_rows, store_rows: six steps, each row where it belongs\n");
}

void check_softmax(at::ScalarType type, double threshold) {
  const std::int64_t samples = 96, first = 2003, second = 1500;
  const std::int64_t padded[] = {2008, 1504};
  const float scale = 64;
  const auto on_gpu = at::TensorOptions(kGpu);
  const at::Tensor cosines = torch::rand({samples, first + second}, on_gpu) * 1.6 - 0.8;
  const at::Tensor targets = torch::randint(-1, first + second, {samples}, on_gpu.dtype(at::kInt));
  const at::Tensor maximum = torch::full({samples}, -INFINITY, on_gpu);
  const at::Tensor sum = torch::zeros({samples}, on_gpu);
  constexpr std::int64_t kParts = 3;
  const at::Tensor d = torch::empty({kParts, samples, kDim}, on_gpu);
  const at::Tensor tile_maximum = torch::empty({2, samples}, on_gpu);
  const gpu::SoftmaxState state{
      maximum.data_ptr<float>(), sum.data_ptr<float>(), d.data_ptr<float>(), kParts, samples, kDim};
  std::vector<at::Tensor> probabilities;
  std::vector<at::Tensor> tiles;
  // Where the classes end, for either tile.
  const at::Tensor ends[] = {send({.count = first}), send({.count = first + second})};
  for (int t = 0; t < 2; ++t) {
    const std::int64_t begin = t * first, count = t == 0 ? first : second;
    const at::Tensor z =
        torch::full({samples, padded[t]}, 0.9, on_gpu);  // beyond the last: no class
    z.narrow(1, 0, count).copy_(cosines.narrow(1, begin, count));
    tiles.push_back(z);
    probabilities.push_back(torch::full({samples, padded[t]}, NAN, on_gpu.dtype(type)));
    d.fill_(t == 0 ? NAN : 1);  // before the first tile there is no sum
    gpu::softmax_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}},
                      {z.const_data_ptr<float>(), scale, static_cast<float>(threshold)},
                      targets.const_data_ptr<std::int32_t>(), state, operand(probabilities.back()),
                      tile_maximum[t].data_ptr<float>(), stream());
  }
  at::Tensor logits = cosines.to(at::kDouble);
  logits = torch::where(logits > threshold, torch::full_like(logits, -INFINITY), logits);
  const at::Tensor own_column =
      torch::arange(first + second, on_gpu.dtype(at::kInt)).eq(targets.unsqueeze(1));
  logits = logits.masked_fill(own_column, -INFINITY) * scale;
  const at::Tensor most = logits.amax(1);
  const std::string what = "softmax_tile " + name(type) + (threshold < 1 ? ", filtered" : "");
  expect_below(what + ": maximum", error_of(maximum, most), 1e-6);
  expect_below(what + ": sum", error_of(sum, (logits - most.unsqueeze(1)).exp().sum(1)), 1e-5);
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
    gpu::exp_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}},
                  {tiles[static_cast<std::size_t>(t)].const_data_ptr<float>(), scale,
                   static_cast<float>(threshold)},
                  targets.const_data_ptr<std::int32_t>(), tile_maximum[t].const_data_ptr<float>(),
                  operand(p), stream());
    expect_below("exp_tile " + name(type) + " so rounded", error_of(p.narrow(1, 0, count), wanted),
                 limit_of(type));
  }
}

/// Of three lanes, one of which met no class for the first sample; every other sample's class is
/// another rank's.
void check_merge() {
  constexpr std::int64_t kLanes = 3, kParts = 2, kSamples = 96;
  constexpr float kScale = 64;
  const at::TensorOptions on_gpu(kGpu);
  const at::Tensor maximum = random({kLanes, kSamples}) * 20,
                   sum = random({kLanes, kSamples}).abs() + 1,
                   d = random({kLanes, kParts, kSamples, kDim});
  maximum[1][0] = -INFINITY;
  const at::Tensor most = std::get<0>(maximum.max(0)).to(at::kDouble);
  const at::Tensor factor = (maximum.to(at::kDouble) - most).exp();
  const at::Tensor wanted_sum = (factor * sum).sum(0);
  const at::Tensor wanted_d = (factor.view({kLanes, 1, kSamples, 1}) * d).sum(0).sum(0);
  const at::Tensor targets = torch::arange(kSamples, on_gpu.dtype(at::kInt)).remainder(2) - 1;
  const at::Tensor phi = torch::rand({kSamples}, on_gpu.dtype(at::kDouble)),
                   locals = torch::full({kSamples, 3}, NAN, on_gpu);
  gpu::merge_softmax(
      {maximum.data_ptr<float>(), sum.data_ptr<float>(), d.data_ptr<float>(), kParts, kSamples,
       kDim},
      kLanes, {.targets = targets.const_data_ptr<std::int32_t>(), .phi = phi.data_ptr<double>()},
      kScale, locals.data_ptr<float>(), stream());
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

/// What a micro-batch begins with, and what its samples' own classes are to them: of 120 rows,
/// every third sample's is another rank's.
void check_own_classes(at::ScalarType type) {
  constexpr std::int64_t kSamples = 96, kLanes = 2;
  const Case c(type, 500, 120);
  const at::TensorOptions on_gpu(kGpu);
  const at::Tensor embeddings = random({kSamples, kDim}) / std::sqrt(double{kDim}),
                   kept = torch::full({kSamples, kDim}, NAN, on_gpu),
                   x = torch::full({kSamples, kDim}, NAN, on_gpu.dtype(at::kBFloat16)),
                   maximum = torch::full({kLanes, kSamples}, NAN, on_gpu),
                   sum = torch::full({kLanes, kSamples}, NAN, on_gpu);
  const gpu::Samples samples{kept.data_ptr<float>(), operand(x), kSamples};
  gpu::begin_samples(embeddings.const_data_ptr<float>(), samples,
                     {.maximum = maximum.data_ptr<float>(),
                      .sum = sum.data_ptr<float>(),
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
  const at::Tensor phi = of_samples(), slope = of_samples(), d_sample = of_rows(),
                   d_center = of_rows();
  const Margin margin = Margin::arcface(0.5);
  gpu::prepare_own_classes(c.table(), c.sampled(120), samples, margin.terms(),
                           {.targets = targets.const_data_ptr<std::int32_t>(),
                            .phi = phi.data_ptr<double>(),
                            .slope = slope.data_ptr<double>(),
                            .d_sample = d_sample.data_ptr<float>(),
                            .d_center = d_center.data_ptr<float>()},
                           stream());
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
  const std::string what = "prepare_own_classes, " + name(type) + ": ";
  expect_below(what + "margin", error_of(phi, ((theta + 0.5).cos() * owned).squeeze(1)), 1e-12);
  expect_below(what + "its slope",
               error_of(slope, ((theta + 0.5).sin() / theta.sin() * owned).squeeze(1)), 1e-12);
  expect_below(what + "cosine by the sample",
               error_of(d_sample, (center - cosine * sample) * owned), 1e-5);
  expect_below(what + "cosine by the centre",
               error_of(d_center, (sample - cosine * center) * owned), 1e-5);
}

/// Three ranks' parts of a softmax, of which this one owns every third sample's class; every fifth
/// sample is not valid.
void check_join() {
  constexpr std::int64_t kWorld = 3, kSamples = 95;
  constexpr float kScale = 32;
  const at::TensorOptions on_gpu(kGpu);
  at::Tensor all = random({kWorld, kSamples, 3}).cpu();
  all.select(2, 1).abs_().add_(1);
  const at::Tensor numbers = torch::arange(kSamples);
  for (std::int64_t rank = 0; rank < kWorld; ++rank)
    all.select(2, 2)[rank].masked_fill_(numbers.remainder(kWorld).ne(rank), -INFINITY);
  const at::Tensor
      valid = numbers.remainder(5).ne(4).to(at::kFloat).to(kGpu),
      targets = torch::where(numbers.remainder(kWorld).eq(0), numbers, -1).to(at::kInt).to(kGpu),
      slope = torch::rand({kSamples}, at::kDouble).to(kGpu), sums = random({kSamples, kDim}),
      d_sample = random({kSamples, kDim}), d_center = random({kSamples, kDim}),
      parts = all.to(kGpu), maximum = parts.select(2, 0)[0].contiguous(),
      d = torch::full({kSamples, kDim}, NAN, on_gpu),
      log_sum = torch::full({kSamples}, NAN, on_gpu), count = torch::full({1}, NAN, on_gpu),
      worth = torch::full({1}, NAN, on_gpu), skip = torch::full({1}, NAN, on_gpu),
      loss = torch::full({1}, NAN, on_gpu.dtype(at::kDouble)),
      losses = torch::full({kSamples}, NAN, on_gpu.dtype(at::kDouble));
  const at::Tensor center_before = d_center.cpu().to(at::kDouble);
  gpu::begin_loss(valid.const_data_ptr<float>(), kSamples, count.data_ptr<float>(),
                  loss.data_ptr<double>(), skip.data_ptr<float>(), stream());
  const gpu::JoinedSoftmax joined{.all = parts.const_data_ptr<float>(),
                                  .valid = valid.const_data_ptr<float>(),
                                  .count = count.const_data_ptr<float>(),
                                  .world = kWorld,
                                  .samples = kSamples,
                                  .log_sum = log_sum.data_ptr<float>(),
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
  all = all.to(at::kDouble);
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

  // Weighted for one tile, then for another, in which every second maximum is the same.
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

/// The same change to the same rows on the CPU; bfloat16 draws the same random bits.
void check_update(at::ScalarType type, bool adamw) {
  const Case c(type, 3000, 777);
  const at::Tensor d_unit = random({777, kDim}) * 0.01;
  const at::Tensor inverse = 1 / c.weights.index_select(0, c.rows).to(at::kFloat).norm(2, 1);
  const at::Tensor skip = torch::ones({1}, at::TensorOptions(kGpu));
  constexpr float kWorth = 0x1p-30f;
  const at::Tensor worth = skip * kWorth;
  // Two samples own one row, one another; another micro-batch went before.
  const auto numbers = [](std::vector<std::int32_t> list) {
    return torch::tensor(list, at::kInt).to(kGpu);
  };
  const at::Tensor owned = numbers({2, 0, 1}), places = numbers({5, 5, 776});
  const at::Tensor d_center = random({Case::kOwned, kDim}) * 0.01 / kWorth,
                   so_far = random({777, kDim}) * 0.01 / kWorth;
  const at::Tensor handed = d_unit / kWorth - so_far;
  handed.index_add_(0, places, d_center.index_select(0, owned));
  const at::Tensor first = torch::full({777}, -1, at::TensorOptions(kGpu).dtype(at::kInt));
  const gpu::OwnedOrder order = {owned.const_data_ptr<std::int32_t>(),
                                 places.const_data_ptr<std::int32_t>(),
                                 first.data_ptr<std::int32_t>()};
  gpu::find_owned(order, pointer(c.scalars), Case::kOwned, stream());
  const gpu::CenterGradients gradients = {.d_unit = handed.const_data_ptr<float>(),
                                          .owned = order,
                                          .d_center = d_center.const_data_ptr<float>(),
                                          .so_far = so_far.const_data_ptr<float>(),
                                          .worth = worth.const_data_ptr<float>(),
                                          .inverse_norm = inverse.const_data_ptr<float>()};
  const CounterRandom rounding(3, Stream::kRounding);
  const at::Tensor w = c.weights.cpu(), v = c.momentum.cpu(), s = c.squares.cpu(),
                   rows = c.rows.cpu(), gradient = d_unit.cpu(), norms = inverse.cpu(),
                   updates = c.updates.cpu();
  const auto update = [&] {
    gpu::update_rows(c.table(), c.sampled(777), adamw, gradients, rounding,
                     skip.const_data_ptr<float>(), stream());
  };
  update();
  const std::string what = std::string("update_rows ") + (adamw ? "AdamW " : "SGD ") + name(type);
  if (!c.weights.cpu().equal(w) || !c.momentum.cpu().equal(v))
    throw Error(what + ": a step that is skipped changed the table");
  skip.zero_();
  update();
  at::Tensor exact_w = w.to(at::kDouble), exact_v = v.to(at::kDouble), exact_s = s.to(at::kDouble);
  for (std::int64_t i = 0; i < 777; ++i) {
    const std::int64_t row = rows[i].item<std::int64_t>();
    const auto words = rounding.words(static_cast<std::uint64_t>(row), 6);
    const kernels::RoundingKey key{words[0], words[1]};
    const float* const g = gradient.const_data_ptr<float>() + i * kDim;
    const auto step = kernels::formulas::adamw_step(0.1, 5e-4, updates[row].item<int>() + 1);
    // float64 on the CPU, by LibTorch.
    at::Tensor x = exact_w[row], m = exact_v[row], q = exact_s[row];
    const at::Tensor unit = x / x.norm(), from = gradient[i].to(at::kDouble);
    const at::Tensor dw = (from - from.dot(unit) * unit) / x.norm();
    if (adamw) {
      m.mul_(0.9).add_(dw, 0.1);
      q.mul_(0.999).add_(dw.square(), 0.001);
      x.mul_(1 - 0.1 * 5e-4)
          .sub_(m * double{step.rate} / (q.sqrt() * double{step.root_correction} + 1e-8));
      kernels::update_row_adamw(row_of(w, row), row_of(v, row), row_of(s, row), g,
                                norms[i].item<float>(), kDim, step, key);
    } else {
      m.mul_(0.9).add_(dw).add_(x, 5e-4);
      x.sub_(m, 0.1);
      kernels::update_row(row_of(w, row), row_of(v, row), {}, g, norms[i].item<float>(), kDim,
                          {0.1f, 0.9f, 5e-4f}, key);
    }
  }
  const bool exact = type == at::kFloat;
  // bfloat16 is rounded to either side, stochastically: 2^-8 of the value at the most, and so by
  // the CPU.
  expect_below(what + ": weights, of float64", error_of(c.weights, exact_w), exact ? 1e-5 : 3e-3);
  expect_below(what + ": state, of float64", error_of(c.momentum, exact_v), exact ? 1e-5 : 3e-3);
  expect_below(what + ": weights, of the CPU's", error_of(c.weights, w), limit_of(type));
  expect_below(what + ": state, of the CPU's", error_of(c.momentum, v), limit_of(type));
  if (adamw) expect_below(what + ": squares, of the CPU's", error_of(c.squares, s), limit_of(type));
  gpu::sum_gradients(c.sampled(777), gradients, kDim, so_far.data_ptr<float>(), stream());
  expect_below("sum_gradients", error_of(so_far * kWorth, d_unit), 1e-6);
}

}  // namespace

void check_kernels() {
  check_list();
  check_parts();
  for (const auto table : {at::kFloat, at::kBFloat16}) {
    for (const auto unit : {at::kFloat, at::kBFloat16, at::kHalf}) check_gather(table, unit);
  }
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) check_softmax(type, 2);
  check_softmax(at::kFloat, 0.3);
  check_merge();
  for (const auto type : {at::kFloat, at::kBFloat16}) check_own_classes(type);
  check_join();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    check_update(type, /*adamw=*/false);
    check_update(type, /*adamw=*/true);
  }
}

}  // namespace pfc::gpu_check
