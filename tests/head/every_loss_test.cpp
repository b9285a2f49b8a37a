// Every loss that is registered, in the streaming head against its formula: autograd through an
// explicit matrix of all logits in float64.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "head/kernels/formulas.h"
#include "head/loss_formulas.h"
#include "pfc/head/partial_fc.h"

namespace pfc {
namespace {

using reference::Numbers;

constexpr std::int64_t kDim = 24, kClasses = 90;

struct Case {
  std::string name;
  PartialFcOptions head = {};
  double sample_rate = 0.4;
  std::vector<std::int64_t> labels = {3, 17, 17, 40, 89, 0, 5};
  std::vector<float> valid = {1, 1, 1, 1, 1, 1, 1};
  std::int64_t part = 7;  ///< samples of a micro-batch
  int threads = 2;
  /// Makes the embeddings [n, d], not of unit length, and changes the centres.
  std::function<at::Tensor(const Case&, at::Tensor weights)> embeddings = {};
};

at::Tensor unit_rows(const at::Tensor& x) {
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

std::int64_t samples_of(const Case& c) {
  return std::ssize(c.labels);
}

at::Tensor random_embeddings(const Case& c, const at::Tensor& weights) {
  at::manual_seed(5);
  // Larger than centres start, so that steps leave them where the loss is not saturated.
  weights.copy_(torch::randn(weights.sizes()) * 0.5);
  return unit_rows(torch::randn({samples_of(c), kDim})) *
         torch::linspace(5, 120, samples_of(c)).unsqueeze(1);
}

SampledClasses draw(const Case& c, std::int64_t step) {
  std::vector<GlobalClass> labels;
  for (const auto label : c.labels) labels.push_back({label});
  return ClassSampler({c.sample_rate, Sampling::kStratified, 1}, ClassShard(kClasses, 0, 1))
      .draw(step, labels);
}

/// What a step leaves.
struct Result {
  double loss = 0;
  at::Tensor d_embeddings = {};  ///< [n, d]
  at::Tensor weights = {}, momentum = {};
  Numbers moving = {};
};

/// Own draws of the samples from `first` on.
at::Tensor normals_of(const Case& c, std::int64_t step, std::int64_t first, std::int64_t count) {
  const CounterRandom random(c.head.table.seed, RandomStream::kLoss);
  std::vector<double> normals;
  for (std::int64_t i = first; i < first + count; ++i)
    normals.push_back(kernels::formulas::loss_draw(random, step, i));
  return at::tensor(normals, at::kDouble);
}

/// The obvious way: every logit in a matrix, autograd, and SGD on the sampled rows.
template <class L>
Result by_formula(const L& loss, const Case& c, const at::Tensor& embeddings, Result before,
                  std::int64_t step, double lr) {
  const std::int64_t centers = centers_a_class(c.head.loss);
  const SampledClasses classes = draw(c, step);
  std::vector<std::int64_t> rows, targets(classes.targets.begin(), classes.targets.end());
  for (const LocalRow row : classes.rows()) {
    for (std::int64_t k = 0; k < centers; ++k) rows.push_back(row.v * centers + k);
  }
  const at::Tensor index = at::tensor(rows), target = at::tensor(targets);
  const at::Tensor x = embeddings.to(at::kDouble).detach().requires_grad_();
  const at::Tensor w = before.weights.index_select(0, index).to(at::kDouble).requires_grad_();
  const at::Tensor all_valid = at::tensor(c.valid).to(at::kDouble);
  at::Tensor total = at::zeros({}, at::kDouble);
  for (std::int64_t first = 0; first < samples_of(c); first += c.part) {
    const std::int64_t count = std::min(c.part, samples_of(c) - first);
    const at::Tensor part = x.narrow(0, first, count),
                     own = target.narrow(0, first, count).unsqueeze(1),
                     valid = all_valid.narrow(0, first, count);
    at::Tensor cosines = unit_rows(part).mm(unit_rows(w).t()).view({count, -1, centers}).amax(2);
    const reference::Samples samples{.cosines = cosines.gather(1, own).squeeze(1),
                                     .lengths = part.norm(2, 1),
                                     .normals = normals_of(c, step, first, count),
                                     .valid = valid};
    reference::follow(loss, samples, before.moving);
    if (c.head.interclass_filter > 0) {
      cosines = cosines.masked_fill(cosines > c.head.interclass_filter,
                                    -std::numeric_limits<double>::infinity());
    }
    at::Tensor logits = reference::others(loss, cosines, samples, before.moving);
    logits = logits.scatter(1, own, reference::own(loss, samples, before.moving).unsqueeze(1));
    const at::Tensor losses =
        -torch::log_softmax(logits * c.head.scale, 1).gather(1, own).squeeze(1) +
        reference::penalty(loss, samples.lengths);
    total = total + (losses * valid).sum() / all_valid.sum();
  }
  total.backward();

  at::Tensor v = before.momentum.index_select(0, index).to(at::kDouble);
  v = c.head.table.optimizer.momentum * v + w.grad() +
      c.head.table.optimizer.weight_decay * w.detach();
  return {total.item<double>(), x.grad(),
          before.weights.index_copy(0, index, (w.detach() - lr * v).to(at::kFloat)),
          before.momentum.index_copy(0, index, v.to(at::kFloat)), before.moving};
}

/// A step of the head, in micro-batches; the gradient by the embeddings as a backbone gets it.
Result by_head(PartialFc& head, const Case& c, const at::Tensor& embeddings, std::int64_t step,
               double lr) {
  const auto comm = make_self_communicator();
  std::vector<at::Tensor> gradients;
  head.begin(draw(c, step), at::tensor(c.valid));
  for (std::int64_t first = 0; first < samples_of(c); first += c.part) {
    const std::int64_t count = std::min(c.part, samples_of(c) - first);
    const at::Tensor x = embeddings.narrow(0, first, count), length = x.norm(2, 1, true);
    head.forward({x / length, length.squeeze(1)}, *comm, first);
    head.exchange(*comm);
    const at::Tensor unit = x / length, d_unit = head.d_embeddings();
    at::Tensor gradient = (d_unit - (d_unit * unit).sum(1, true) * unit) / length;
    if (head.d_lengths().defined()) gradient = gradient + head.d_lengths().unsqueeze(1) * unit;
    gradients.push_back(gradient);
    Pending in_flight = comm->reduce_scatter(head.d_embeddings());
    first + count < samples_of(c) ? head.accumulate(in_flight) : head.update(lr, in_flight);
  }
  const at::Tensor moving = head.moving_numbers();
  return {
      head.loss(), at::cat(gradients), head.settled_table().weights().clone(),
      head.settled_table().part("momentum").clone(),
      Numbers(moving.const_data_ptr<double>(), moving.const_data_ptr<double>() + moving.numel())};
}

void expect_close(const at::Tensor& found, const at::Tensor& want, const char* what) {
  const double largest = want.abs().max().item<double>();
  EXPECT_LT((found.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>(),
            1e-5 * largest + 1e-6)
      << what;
}

/// Some steps of the head and of the formula, side by side.
template <class L>
void expect_equals_the_formula(const L& loss, Case c) {
  SCOPED_TRACE(std::string(L::kName) + ", " + c.name);
  c.head.loss = loss;
  const int threads = at::get_num_threads();
  at::set_num_threads(c.threads);
  PartialFc head(c.head, ClassShard(kClasses, 0, 1));
  const at::Tensor embeddings = c.embeddings ? c.embeddings(c, head.settled_table().weights())
                                             : random_embeddings(c, head.settled_table().weights());
  Result want{.weights = head.settled_table().weights().clone(),
              .momentum = head.settled_table().part("momentum").clone(),
              .moving = first_moving_numbers(c.head.loss)};
  for (std::int64_t step = 0; step < 4; ++step) {
    const double lr = 0.1 / static_cast<double>(step + 1);
    want = by_formula(loss, c, embeddings, want, step, lr);
    const Result found = by_head(head, c, embeddings, step, lr);
    EXPECT_NEAR(found.loss, want.loss, 1e-5 * std::max(1.0, want.loss));
    expect_close(found.d_embeddings, want.d_embeddings, "d_embeddings");
    expect_close(found.weights, want.weights, "weights");
    expect_close(found.momentum, want.momentum, "momentum");
    ASSERT_EQ(found.moving.size(), want.moving.size());
    for (std::size_t i = 0; i < want.moving.size(); ++i)
      EXPECT_NEAR(found.moving[i], want.moving[i], 1e-6 * std::abs(want.moving[i]) + 1e-9);
    head.settled_table().weights().copy_(want.weights);
    head.settled_table().part("momentum").copy_(want.momentum);
  }
  at::set_num_threads(threads);
}

Case usual(std::string name) {
  Case c{.name = std::move(name)};
  c.head.table.dim = kDim;
  c.head.table.seed = 3;
  c.head.tile_rows = 16;
  c.head.scale = 16;  // logits that overlap, so that no gradient is lost in saturation
  return c;
}

void expect_of_every_loss(const Case& c) {
  std::apply([&](const auto&... loss) { (expect_equals_the_formula(loss, c), ...); }, Losses());
}

TEST(EveryLoss, EqualsItsFormula) {
  expect_of_every_loss(usual("as usual"));
  Case c = usual("one thread");
  c.threads = 1;
  expect_of_every_loss(c);
  c = usual("three threads");
  c.threads = 3;
  expect_of_every_loss(c);
}

TEST(EveryLoss, EqualsItsFormulaForOtherSettings) {
  const Case c = usual("other settings");
  expect_equals_the_formula(ArcFace{.m = 0.5, .slope = ArcFace::Slope::kStraightThrough}, c);
  expect_equals_the_formula(CombinedMargin{.m1 = 1.1, .m2 = 0.3, .m3 = 0.2}, c);
  expect_equals_the_formula(AdaFace{.m = 0.3, .h = 1, .rate = 1}, c);
  expect_equals_the_formula(ElasticFace{.m = 0.35, .sigma = 0.05, .on = ElasticFace::On::kCosine},
                            c);
  expect_equals_the_formula(MagFace{.l_a = 1, .u_a = 51, .l_m = 0.25, .u_m = 0.6, .lambda = 5}, c);
  expect_equals_the_formula(SubCenterArcFace{.m = 0.3, .centers = 1}, c);
  expect_equals_the_formula(SubCenterArcFace{.m = 0.3, .centers = 7}, c);
}

TEST(EveryLoss, EqualsItsFormulaAtAnyRate) {
  for (const double rate : {0.0, 1.0}) {
    Case c = usual("rate " + std::to_string(rate));
    c.sample_rate = rate;
    expect_of_every_loss(c);
  }
}

TEST(EveryLoss, EqualsItsFormulaWithTheFilter) {
  Case c = usual("filter");
  c.head.interclass_filter = 0.2;
  expect_of_every_loss(c);
}

TEST(EveryLoss, EqualsItsFormulaWhereProbabilitiesAreComputedTwice) {
  Case c = usual("nothing kept");
  c.head.workspace_bytes = 0;
  expect_of_every_loss(c);
}

TEST(EveryLoss, EqualsItsFormulaForSamplesOfWeightZero) {
  Case c = usual("weights");
  c.valid = {1, 0, 1, 1, 0, 1, 1};
  expect_of_every_loss(c);
}

TEST(EveryLoss, EqualsItsFormulaInMicroBatches) {
  for (const std::int64_t part : {4, 1}) {
    Case c = usual("micro-batches of " + std::to_string(part));
    c.part = part;
    c.valid = {1, 0, 1, 1, 1, 1, 1};
    expect_of_every_loss(c);
  }
}

TEST(EveryLoss, EqualsItsFormulaNearCosinesOfOne) {
  for (const double sign : {1.0, -1.0}) {
    for (const double off : {1e-1, 1e-2}) {
      Case c = usual("cosines near " + std::to_string(sign * (1 - off)));
      c.sample_rate = 1;
      c.embeddings = [sign, off](const Case& of, const at::Tensor& weights) {
        const at::Tensor embeddings = random_embeddings(of, weights);
        const std::int64_t centers = weights.size(0) / kClasses;
        for (std::int64_t i = 0; i < samples_of(of); ++i) {
          const std::int64_t label = of.labels[static_cast<std::size_t>(i)];
          weights[label * centers].copy_(sign * unit_rows(embeddings)[i] +
                                         off * torch::randn({kDim}) / 5);
        }
        return embeddings;
      };
      expect_of_every_loss(c);
    }
  }
}

TEST(EveryLoss, OfLearntSamplesKeepsItsDigitsAtTheUsualScale) {
  Case c = usual("scale 64");
  c.head.scale = 64;
  expect_of_every_loss(c);
}

TEST(EveryLoss, GoesOnFromItsNumbersToTheSameBits) {
  std::apply(
      [](const auto&... losses) {
        const auto check = []<class L>(const L& loss) {
          SCOPED_TRACE(L::kName);
          Case c = usual("resumed");
          c.head.loss = loss;
          const ClassShard shard(kClasses, 0, 1);
          PartialFc whole(c.head, shard), first(c.head, shard), second(c.head, shard);
          const at::Tensor embeddings = random_embeddings(c, whole.settled_table().weights());
          first.settled_table().weights().copy_(whole.settled_table().weights());
          for (std::int64_t step = 0; step < 3; ++step) {
            by_head(whole, c, embeddings, step, 0.1);
            by_head(first, c, embeddings, step, 0.1);
          }
          second.settled_table().weights().copy_(first.settled_table().weights());
          second.settled_table().part("momentum").copy_(first.settled_table().part("momentum"));
          second.moving_numbers().copy_(first.moving_numbers());
          const Result want = by_head(whole, c, embeddings, 3, 0.1);
          const Result found = by_head(second, c, embeddings, 3, 0.1);
          EXPECT_EQ(found.loss, want.loss);
          EXPECT_TRUE(found.weights.equal(want.weights));
          EXPECT_EQ(found.moving, want.moving);
        };
        (check(losses), ...);
      },
      Losses());
}

}  // namespace
}  // namespace pfc
