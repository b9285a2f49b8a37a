// What kernels do on a GPU alone, against float64; kernels_test.cpp has what those of CPUs do too.
#include <c10/core/ScalarType.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "base/ceil_divide.h"
#include "head/gpu_memory.h"
#include "head/head_case.h"
#include "head/kernels/constant_shift.h"
#include "head/table_view.h"
#include "head/upload.h"

namespace pfc {
namespace {

constexpr std::int64_t kDim = 512;

std::string name_of_type(at::ScalarType type) {
  return c10::toString(type);
}
double limit_of(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : 1e-3;
}
at::Tensor random(at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  return torch::randn(shape).to(kGpu, type);
}
const gpu::StepScalars* pointer(const at::Tensor& scalars) {
  return static_cast<const gpu::StepScalars*>(scalars.const_data_ptr());
}

/// A table without states, and some of its rows.
struct PickedRows {
  at::Tensor weights, rows, scalars;

  PickedRows(at::ScalarType type, std::int64_t count, std::int64_t picked)
      : weights(random({count, kDim}, type)),
        rows(std::get<0>(torch::randperm(count, on_gpu(at::kLong)).narrow(0, 0, picked).sort())),
        scalars(sent(gpu::StepScalars{.count = picked})) {}

  gpu::Table table() const {
    return {.weights = weights.data_ptr(), .weight_type = number_type_of(weights), .dim = kDim};
  }
  gpu::SampledRows sampled(std::int64_t size) const {
    return {rows.const_data_ptr<std::int64_t>(), pointer(scalars), 0, size};
  }
};

TEST(GpuKernels, ListTheHostsRows) {
  for (int rank = 0; rank < 3; ++rank) {
    const ClassShard shard(100'003, rank, 3);
    for (const auto& [rate, sampling] : {std::pair{0.0, Sampling::kStratified},
                                         {0.1, Sampling::kStratified},
                                         {0.9, Sampling::kStratified},
                                         {0.1, Sampling::kBlocks},
                                         {0.9, Sampling::kBlocks}}) {
      const ClassSampler sampler({.sample_rate = rate, .sampling = sampling, .seed = 5}, shard);
      for (std::int64_t step = 0; step < 20; ++step) {
        std::vector<GlobalClass> labels;
        for (std::int64_t i = 0; i < 300; ++i) labels.push_back({(step * 997 + i * i) % 100'003});
        const SampledClasses classes = sampler.draw(step, labels);
        for (const std::int64_t centers : {1, 3}) {
          const at::Tensor rows = torch::full({classes.count() * centers}, -1, on_gpu(at::kLong));
          list_on_gpu(classes, centers, rows);
          std::vector<std::int64_t> wanted;
          for (const LocalRow row : classes.rows()) {
            for (std::int64_t k = 0; k < centers; ++k) wanted.push_back(row.v * centers + k);
          }
          ASSERT_TRUE(rows.cpu().equal(torch::tensor(wanted, at::kLong))) << rate;
        }
      }
    }
  }
}

/// With the places beyond the last row, which are empty.
void expect_gathered(at::ScalarType table_type, at::ScalarType unit_type) {
  const PickedRows c(table_type, 5000, 1003);
  const std::int64_t padded = 1008;
  const at::Tensor unit =
      torch::full({padded, kDim}, NAN, at::TensorOptions(kGpu).dtype(unit_type));
  const at::Tensor inverse = torch::full({padded}, NAN, at::TensorOptions(kGpu));
  gpu::gather_normalize(c.table(), c.sampled(padded), operand(unit), inverse.data_ptr<float>(),
                        stream());
  const at::Tensor w = c.weights.index_select(0, c.rows).to(at::kDouble);
  const at::Tensor wanted = w / w.norm(2, 1, true);
  const std::string what =
      "gather_normalize " + name_of_type(table_type) + " to " + name_of_type(unit_type);
  const double rounding = unit_type == at::kBFloat16 ? 2e-3 : unit_type == at::kHalf ? 3e-4 : 1e-5;
  EXPECT_LE(error_of(unit.narrow(0, 0, 1003), wanted), rounding) << what + ", of float64";
  EXPECT_LE(error_of(unit.narrow(0, 0, 1003), wanted.to(at::kFloat).to(unit_type)),
            limit_of(unit_type))
      << what + ", of float64 so rounded";
  if (unit.narrow(0, 1003, 5).to(at::kFloat).abs().sum().item<double>() != 0)
    ADD_FAILURE() << what + ": rows beyond the last are not 0";
}

/// Two tiles with the given numbers of classes.
void expect_softmax(at::ScalarType type, double threshold, std::int64_t first = 2003,
                    std::int64_t second = 1500) {
  const std::int64_t samples = 96;
  const auto to_width = [](std::int64_t n) { return ceil_divide(n, gpu::kWidth) * gpu::kWidth; };
  const std::int64_t padded[] = {to_width(first), to_width(second)};
  const float scale = 64;
  const at::Tensor cosines = torch::rand({samples, first + second}, on_gpu(at::kFloat)) * 1.6 - 0.8;
  const at::Tensor targets = torch::randint(-1, first + second, {samples}, on_gpu(at::kInt));
  const at::Tensor maximum = torch::full({samples}, -INFINITY, on_gpu(at::kFloat));
  const at::Tensor sum = torch::zeros({samples}, on_gpu(at::kDouble));
  constexpr std::int64_t kParts = 3;
  const at::Tensor d = torch::empty({kParts, samples, kDim}, on_gpu(at::kFloat));
  const at::Tensor tile_maximum = torch::empty({2, samples}, on_gpu(at::kFloat));
  const gpu::SoftmaxState state{maximum.data_ptr<float>(),
                                sum.data_ptr<double>(),
                                d.data_ptr<float>(),
                                kParts,
                                samples,
                                kDim};
  std::vector<at::Tensor> probabilities;
  std::vector<at::Tensor> tiles;
  // Where the classes end, for either tile.
  const at::Tensor ends[] = {sent(gpu::StepScalars{.count = first}),
                             sent(gpu::StepScalars{.count = first + second})};
  for (int t = 0; t < 2; ++t) {
    const std::int64_t begin = t * first, count = t == 0 ? first : second;
    const at::Tensor z =
        torch::full({samples, padded[t]}, 0.9, on_gpu(at::kFloat));  // beyond the last class
    z.narrow(1, 0, count).copy_(cosines.narrow(1, begin, count));
    tiles.push_back(z);
    probabilities.push_back(torch::full({samples, padded[t]}, NAN, on_gpu(type)));
    d.fill_(t == 0 ? NAN : 1);  // before the first tile there is no sum
    gpu::softmax_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}}, CosFace(),
                      {z.data_ptr<float>(), scale, static_cast<float>(threshold)},
                      targets.const_data_ptr<std::int32_t>(), state, operand(probabilities.back()),
                      tile_maximum[t].data_ptr<float>(), stream());
  }
  at::Tensor logits = cosines.to(at::kDouble);
  logits = torch::where(logits > threshold, torch::full_like(logits, -INFINITY), logits);
  const at::Tensor own_column =
      torch::arange(first + second, on_gpu(at::kInt)).eq(targets.unsqueeze(1));
  logits = logits.masked_fill(own_column, -INFINITY) * scale;
  const at::Tensor most = logits.amax(1);
  const std::string what = "softmax_tile " + name_of_type(type) +
                           (threshold < 1 ? ", filtered" : "") +
                           (second > first ? ", large tiles" : "");
  EXPECT_LE(error_of(maximum, most), 1e-6) << what + ": maximum";
  EXPECT_LE(error_of(sum, (logits - most.unsqueeze(1)).exp().sum(1)), 1e-6) << what + ": sum";
  const at::Tensor shrink = (tile_maximum[0] - tile_maximum[1]).to(at::kDouble).exp().view({-1, 1});
  EXPECT_LE(error_of(d, shrink.expand({kParts, samples, kDim})), 1e-6) << what + ": the sum so far";
  for (int t = 0; t < 2; ++t) {
    const std::int64_t begin = t * first, count = t == 0 ? first : second;
    const at::Tensor wanted =
        ((logits.narrow(1, begin, count) - tile_maximum[t].to(at::kDouble).unsqueeze(1)).exp() *
         gpu::kRaised)
            .to(at::kFloat)
            .to(type);
    const at::Tensor found = probabilities[static_cast<std::size_t>(t)];
    EXPECT_LE(error_of(found.narrow(1, 0, count), wanted), limit_of(type))
        << what + ": probabilities of tile " + std::to_string(t) + " so rounded";
    if (found.narrow(1, count, padded[t] - count).to(at::kFloat).abs().sum().item<double>() != 0)
      ADD_FAILURE() << what + ": columns beyond the last are not 0";
    const at::Tensor p = torch::full({samples, padded[t]}, NAN, on_gpu(type));
    gpu::exp_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}}, CosFace(),
                  {tiles[static_cast<std::size_t>(t)].data_ptr<float>(), scale,
                   static_cast<float>(threshold)},
                  targets.const_data_ptr<std::int32_t>(), tile_maximum[t].const_data_ptr<float>(),
                  operand(p), stream());
    EXPECT_LE(error_of(p.narrow(1, 0, count), wanted), limit_of(type))
        << "exp_tile " + name_of_type(type) + " so rounded";
  }
}

/// A tile that begins somewhere among a step's places, and whose last `missing` columns have no
/// class. Every third sample's class is in the tile.
struct ExponentialsCase {
  std::int64_t samples, columns, missing, dim;
  Loss loss = CosFace();
  float scale = 64, filter = kNoFilter;
};

void expect_exponentials(const ExponentialsCase& c) {
  SCOPED_TRACE(std::string(loss_name(c.loss)) + ", " + std::to_string(c.samples) + " × " +
               std::to_string(c.columns) + " × " + std::to_string(c.dim));
  constexpr std::int64_t kBegin = 40;
  const std::int64_t count = c.columns - c.missing;
  const auto unit_rows_like = [&](const at::Tensor& rows) {
    return unit_rows(rows).to(at::kBFloat16);
  };
  // Centres near some samples, so that there are cosines of every size.
  const at::Tensor x = unit_rows_like(torch::randn({c.samples, c.dim})),
                   near = x.index_select(0, torch::arange(c.columns).remainder(c.samples)),
                   weight = torch::linspace(-3, 3, c.columns).unsqueeze(1),
                   unit = unit_rows_like(near.to(at::kFloat) * weight +
                                         torch::randn({c.columns, c.dim}) / std::sqrt(c.dim));
  const at::Tensor numbers = torch::arange(c.samples),
                   places = kBegin + (numbers * 7).remainder(c.columns + 20) - 10,
                   targets = torch::where(numbers.remainder(3).eq(0), places, -1).to(at::kInt);
  const at::Tensor bounds = torch::rand({c.samples}) - 0.5;
  constexpr double kMoving = 0.4;

  at::Tensor cosines = x.to(at::kDouble).mm(unit.to(at::kDouble).t()), slopes;
  cosines = cosines.masked_fill(cosines > double{c.filter}, -INFINITY);
  cosines.narrow(1, count, c.missing).fill_(-INFINITY);
  cosines.masked_fill_((torch::arange(c.columns) + kBegin).eq(targets.unsqueeze(1)), -INFINITY);
  slopes = torch::ones_like(cosines);
  if (std::holds_alternative<CurricularFace>(c.loss)) {
    const at::Tensor hard = cosines > bounds.unsqueeze(1);
    slopes = torch::where(hard, kMoving + 2 * cosines, slopes);
    cosines = torch::where(hard, cosines * (kMoving + cosines), cosines);
  }
  const float shift = *kernels::constant_shift(c.loss, c.scale);
  const at::Tensor terms = (cosines * c.scale - shift).exp();

  const at::Tensor there = x.to(kGpu), centers = unit.to(kGpu), own = targets.to(kGpu),
                   bound = bounds.to(kGpu), moving = torch::full({1}, kMoving, on_gpu(at::kDouble)),
                   step = sent(gpu::StepScalars{.count = kBegin + count}),
                   sums = torch::ones({gpu::exponential_sums(c.columns), c.samples},
                                      on_gpu(at::kDouble));
  centers.narrow(0, count, c.missing).fill_(NAN);
  const auto make = [&](double* of_samples) {
    const at::Tensor p = torch::full({c.samples, c.columns}, NAN, on_gpu(at::kBFloat16));
    gpu::exponentials({c.samples, {nullptr, pointer(step), kBegin, c.columns}}, c.loss,
                      {.scale = c.scale,
                       .filter = c.filter,
                       .bounds = bound.const_data_ptr<float>(),
                       .moving = moving.const_data_ptr<double>()},
                      shift, {there.const_data_ptr(), centers.const_data_ptr(), c.dim},
                      own.const_data_ptr<std::int32_t>(), of_samples, p.data_ptr(), stream());
    return p.cpu();
  };
  const at::Tensor p = make(sums.data_ptr<double>());
  const at::Tensor gained = (sums.cpu() - 1).sum(0), total = terms.sum(1);
  EXPECT_LE(((gained - total) / total.clamp_min(1e-300)).abs().max().item<double>(), 2e-5);
  // Each number, the smallest too: half a step of bfloat16, and the rounding of exponents up to 96.
  const at::Tensor off = (p.to(at::kDouble) - terms * slopes * double{gpu::kRaised}).abs(),
                   allowed = terms * double{gpu::kRaised} * (slopes.abs() * 0x1p-8 + 1e-4);
  EXPECT_TRUE(off.le(allowed).all().item<bool>())
      << (off - allowed).gt(0).sum().item<double>() << " numbers are not their formula";
  EXPECT_TRUE(make(nullptr).equal(p)) << "a second pass gives other numbers";
}

/// Three lanes; one of them met no class for the first sample. The class of every other sample
/// belongs to another rank.
TEST(GpuKernels, MergeTheSoftmaxesOfLanes) {
  constexpr std::int64_t kLanes = 3, kParts = 2, kSamples = 96;
  constexpr float kScale = 64;
  const at::Tensor maximum = random({kLanes, kSamples}) * 20,
                   sum = (random({kLanes, kSamples}).abs() + 1).to(at::kDouble),
                   d = random({kLanes, kParts, kSamples, kDim});
  maximum[1][0] = -INFINITY;
  const at::Tensor most = std::get<0>(maximum.max(0)).to(at::kDouble);
  const at::Tensor factor = (maximum.to(at::kDouble) - most).exp();
  const at::Tensor wanted_sum = (factor * sum).sum(0);
  const at::Tensor wanted_d = (factor.view({kLanes, 1, kSamples, 1}) * d).sum(0).sum(0);
  const at::Tensor targets = torch::arange(kSamples, on_gpu(at::kInt)).remainder(2) - 1;
  const at::Tensor phi = torch::rand({kSamples}, on_gpu(at::kDouble)),
                   locals = torch::full({kSamples, 3}, NAN, on_gpu(at::kDouble));
  gpu::merge_softmax(
      {maximum.data_ptr<float>(), sum.data_ptr<double>(), d.data_ptr<float>(), kParts, kSamples,
       kDim},
      kLanes, {.targets = targets.const_data_ptr<std::int32_t>(), .phi = phi.data_ptr<double>()},
      kScale, locals.data_ptr<double>(), stream());
  EXPECT_LE(error_of(maximum[0], most), 1e-6) << "merge_softmax: maximum";
  EXPECT_LE(error_of(sum[0], wanted_sum), 1e-6) << "merge_softmax: sum";
  EXPECT_LE(error_of(d[0][0], wanted_d), 1e-6) << "merge_softmax: the sum so far";
  const at::Tensor own = targets.ge(0);
  EXPECT_LE(error_of(locals.masked_select(own.unsqueeze(1)).view({-1, 3}),
                     at::stack({most, wanted_sum, phi * kScale}, 1)
                         .masked_select(own.unsqueeze(1))
                         .view({-1, 3})),
            1e-6)
      << "merge_softmax: what other ranks are told";
  if (!locals.select(1, 2).masked_select(own.logical_not()).eq(-INFINITY).all().item<bool>())
    ADD_FAILURE() << "merge_softmax: classes of other ranks have a logit";
}

/// The start of a micro-batch, and how its samples' own classes are treated: 120 rows, and every
/// third sample's class belongs to another rank.
void expect_own_classes(at::ScalarType type) {
  constexpr std::int64_t kSamples = 96, kLanes = 2;
  const PickedRows c(type, 500, 120);
  const at::Tensor embeddings = random({kSamples, kDim}) / std::sqrt(double{kDim}),
                   kept = torch::full({kSamples, kDim}, NAN, on_gpu(at::kFloat)),
                   x = torch::full({kSamples, kDim}, NAN, on_gpu(at::kBFloat16)),
                   maximum = torch::full({kLanes, kSamples}, NAN, on_gpu(at::kFloat)),
                   sum = torch::full({kLanes, kSamples}, NAN, on_gpu(at::kDouble));
  const gpu::Samples samples{kept.data_ptr<float>(), operand(x), kSamples};
  gpu::begin_samples(embeddings.const_data_ptr<float>(), samples,
                     {.maximum = maximum.data_ptr<float>(),
                      .sum = sum.data_ptr<double>(),
                      .samples = kSamples,
                      .dim = kDim},
                     kLanes, -INFINITY, stream());
  if (!kept.equal(embeddings) || !x.equal(embeddings.to(at::kBFloat16)) ||
      !maximum.cpu().eq(-INFINITY).all().item<bool>() || !sum.cpu().eq(0).all().item<bool>())
    ADD_FAILURE() << "begin_samples: not the samples, or a softmax that met a class";

  std::vector<std::int32_t> places;
  for (std::int32_t i = 0; i < kSamples; ++i) places.push_back(i % 3 == 0 ? -1 : (5 * i) % 120);
  const at::Tensor targets = torch::tensor(places, at::kInt).to(kGpu);
  const auto of_samples = [&] { return torch::zeros({kSamples}, on_gpu(at::kDouble)); };
  const auto of_rows = [&] { return torch::zeros({kSamples, kDim}, on_gpu(at::kFloat)); };
  const at::Tensor phi = of_samples(), slope = of_samples(), own_cosine = of_samples(),
                   nearest = torch::zeros({kSamples}, on_gpu(at::kInt)), d_sample = of_rows(),
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
  const std::string what = "own_cosines and apply_loss, " + name_of_type(type) + ": ";
  EXPECT_LE(error_of(phi, ((theta + 0.5).cos() * owned).squeeze(1)), 1e-12) << what + "margin";
  EXPECT_LE(error_of(slope, ((theta + 0.5).sin() / theta.sin() * owned).squeeze(1)), 1e-12)
      << what + "its slope";
  EXPECT_LE(error_of(d_sample, (center - cosine * sample) * owned), 1e-5)
      << what + "cosine by the sample";
  EXPECT_LE(error_of(d_center, (sample - cosine * center) * owned), 1e-5)
      << what + "cosine by the centre";
}

/// Three ranks' parts of a softmax. This rank owns the class of every third sample; every fifth
/// sample is not valid.
TEST(GpuKernels, JoinTheSoftmaxesOfRanksAndWeighEmbeddings) {
  constexpr std::int64_t kWorld = 3, kSamples = 95;
  constexpr float kScale = 32;
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
      d = torch::full({kSamples, kDim}, NAN, on_gpu(at::kFloat)),
      log_sum = torch::full({kSamples}, NAN, on_gpu(at::kDouble)),
      count = torch::full({1}, NAN, on_gpu(at::kFloat)),
      worth = torch::full({1}, NAN, on_gpu(at::kFloat)),
      skip = torch::full({1}, NAN, on_gpu(at::kFloat)),
      loss = torch::full({1}, NAN, on_gpu(at::kDouble)),
      losses = torch::full({kSamples}, NAN, on_gpu(at::kDouble));
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
  EXPECT_LE(error_of(loss, (of_loss * share).sum().view({1})), 1e-6)
      << "begin_loss, join_softmax: loss";
  EXPECT_LE(error_of(losses, of_loss * v), 1e-6) << "join_softmax: its samples'";
  EXPECT_LE(error_of(d, of_others.unsqueeze(1) * sums.cpu() -
                            (kScale * share * own).unsqueeze(1) * d_sample.cpu()),
            1e-5)
      << "join_softmax: gradient of embeddings";
  constexpr double kTwice = double{gpu::kRaised} * gpu::kRaised;
  const at::Tensor is_owned = targets.cpu().ge(0).unsqueeze(1);
  EXPECT_LE(error_of(d_center, at::where(is_owned, (own * kTwice).unsqueeze(1) * center_before,
                                         center_before)),
            1e-5)
      << "join_softmax: that of own centres";
  EXPECT_LE(error_of(worth, kScale / (v.sum() * kTwice).view({1})), 1e-6)
      << "join_softmax: what a gradient is worth";
  if (skip.cpu().item<float>() != 0)
    ADD_FAILURE() << "join_softmax: a finite loss is to be skipped";

  // Weighted for one tile, then for another in which every second maximum is the same.
  const at::Tensor x = random({kSamples, kDim}), before = torch::rand({kSamples}).sub(3).to(kGpu),
                   now = (before.cpu() + 0.25 * numbers.remainder(2)).to(kGpu);
  const at::Tensor weighted = torch::full({kSamples, kDim}, NAN, on_gpu(at::kFloat));
  const gpu::Samples samples{.embeddings = x.data_ptr<float>(), .count = kSamples};
  const auto weigh = [&](const at::Tensor& maxima, const float* last) {
    gpu::weigh_embeddings(samples, joined, maxima.const_data_ptr<float>(), last, kDim,
                          operand(weighted), stream());
    const at::Tensor factor = v * (maxima.cpu().to(at::kDouble) - whole).exp();
    return error_of(weighted, (factor * double{gpu::kRaised}).unsqueeze(1) * x.cpu());
  };
  EXPECT_LE(weigh(before, nullptr), 1e-5) << "weigh_embeddings";
  EXPECT_LE(weigh(now, before.const_data_ptr<float>()), 1e-5)
      << "weigh_embeddings, some maxima are the last tile's";
}

TEST(GpuKernels, GatherRowsOfAnyTypeInAnyOther) {
  at::manual_seed(7);
  for (const auto table : {at::kFloat, at::kBFloat16}) {
    for (const auto unit : {at::kFloat, at::kBFloat16, at::kHalf}) expect_gathered(table, unit);
  }
}

TEST(GpuKernels, MakeTheSoftmaxOfTiles) {
  at::manual_seed(7);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    expect_softmax(type, 2);
    expect_softmax(type, 2, 5003, 9001);
  }
  expect_softmax(at::kFloat, 0.3);
}

TEST(GpuKernels, MakeTheExponentialsOfProducts) {
  at::manual_seed(7);
  expect_exponentials({1, 8, 0, 8});
  expect_exponentials({96, 200, 3, 64});
  expect_exponentials({130, 584, 17, 24});
  expect_exponentials({128, 192, 0, 512});
  expect_exponentials({129, 776, 200, 1024});
  expect_exponentials({96, 400, 5, 128, CosFace(), 64, 0.3});
  expect_exponentials({130, 400, 5, 72, CurricularFace(), 40});
  expect_exponentials({96, 400, 5, 128, CurricularFace(), 40, 0.3});
}

/// Of all that is within [−1, 1], with the largest scale that has one.
TEST(GpuKernels, AConstantShiftKeepsAllExponentialsInRange) {
  EXPECT_FALSE(kernels::constant_shift(ArcFace(), 65.9));
  EXPECT_FALSE(kernels::constant_shift(CurricularFace(), 44));
  EXPECT_TRUE(kernels::constant_shift(CurricularFace(), 43));
  constexpr double kScale = 65.8, kMostClasses = 1e8;
  const std::optional<float> shift = kernels::constant_shift(ArcFace(), kScale);
  ASSERT_TRUE(shift);
  const at::Tensor row = torch::eye(8, at::kBFloat16).narrow(0, 0, 1) * 1.0078, x = row.to(kGpu),
                   unit = at::cat({row, -row}).repeat({4, 1}).to(kGpu),
                   targets = torch::full({1}, -1, on_gpu(at::kInt)),
                   step = sent(gpu::StepScalars{.count = 8}),
                   sums = torch::zeros({gpu::exponential_sums(8), 1}, on_gpu(at::kDouble)),
                   p = torch::full({1, 8}, NAN, on_gpu(at::kBFloat16));
  gpu::exponentials({1, {nullptr, pointer(step), 0, 8}}, ArcFace(), {.scale = kScale}, *shift,
                    {x.const_data_ptr(), unit.const_data_ptr(), 8},
                    targets.const_data_ptr<std::int32_t>(), sums.data_ptr<double>(), p.data_ptr(),
                    stream());
  constexpr double kLeast = std::numeric_limits<float>::min(),
                   kMost = std::numeric_limits<float>::max();
  const auto largest = p.cpu()[0][0].item<double>(), smallest = p.cpu()[0][1].item<double>();
  EXPECT_LT(largest * kMostClasses, kMost);
  EXPECT_GT(1 / (largest * kMostClasses), kLeast);
  EXPECT_GT(smallest, kLeast);
  EXPECT_LT(double{gpu::kRaised} * gpu::kRaised / smallest, kMost);
}

TEST(GpuKernels, MakeOwnClassesInFloat64) {
  at::manual_seed(7);
  for (const auto type : {at::kFloat, at::kBFloat16}) expect_own_classes(type);
}

}  // namespace
}  // namespace pfc
