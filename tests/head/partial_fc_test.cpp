// The streaming head with CosFace on every device; every_loss_test.cpp has what holds for all
// losses.
#include "pfc/head/partial_fc.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <set>

#include "head/head_case.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

class Head : public OnDevice {
 protected:
  static void expect_of(const HeadCase& c) { expect_equals_the_formula(GetParam(), c); }
};

ON_EVERY_DEVICE(Head);

TEST_P(Head, EqualsItsFormulaForAnyNumberOfThreads) {
  if (!GetParam().device.is_cpu()) GTEST_SKIP() << "the device has no threads";
  for (const int n : {1, 2, 3, 8}) {
    HeadCase c = usual_case(std::to_string(n) + " threads");
    c.threads = n;
    c.head.tile_rows = 5;
    expect_of(c);
    c.sample_rate = 0;  // fewer rows than threads
    expect_of(c);
  }
}

TEST_P(Head, EqualsItsFormulaForAnyTile) {
  for (const std::int64_t rows : {1, 7, 36, 37, 1000}) {
    HeadCase c = usual_case("tile of " + std::to_string(rows));
    c.head.tile_rows = rows;
    expect_of(c);
  }
}

TEST_P(Head, EqualsItsFormulaForAnyRate) {
  for (const double rate : {0.01, 0.5}) {
    HeadCase c = usual_case("rate " + std::to_string(rate));
    c.sample_rate = rate;
    expect_of(c);
  }
}

TEST_P(Head, EqualsItsFormulaForAnyBatch) {
  HeadCase c = usual_case("batch of one");
  c.labels = {42};
  expect_of(c);
  c.name = "one class, many samples";
  c.labels = {42, 42, 42, 42};
  expect_of(c);
  c.sample_rate = 0;
  c.name = "nothing but one class";
  c.head.table.optimizer.weight_decay = 1e-2;  // otherwise all gradients are 0
  expect_of(c);
}

TEST_P(Head, EqualsItsFormulaForThousandsOfClassesOfManyNumbers) {
  HeadCase c = usual_case("4,000 classes, 256 numbers");
  c.classes = 4000;
  c.head.table.dim = 256;
  c.head.tile_rows = 0;
  for (std::int64_t i = 0; i < 40; ++i) c.labels.push_back(i * i * 2);
  expect_of(c);
}

TEST_P(Head, EqualsItsFormulaWhereSomeStepsSampleEveryClass) {
  HeadCase c = usual_case("nearly every class");
  c.classes = 12;
  c.sample_rate = 0.9;
  c.labels = {0, 2, 4, 6, 8, 10, 11};
  c.steps = 7;
  std::set<std::int64_t> counts;
  for (std::int64_t step = 0; step < c.steps; ++step) counts.insert(draw(c, step).count());
  ASSERT_EQ(counts, (std::set<std::int64_t>{11, 12}));
  expect_of(c);
}

TEST_P(Head, EqualsItsFormulaWithAdamW) {
  HeadCase c = usual_case("AdamW");
  c.head.table.optimizer = {.kind = CenterOptimizer::Kind::kAdamW, .weight_decay = 0.1};
  c.lr = 1e-3;
  expect_of(c);
}

TEST_P(Head, EqualsItsFormulaWithEveryStepsDecay) {
  HeadCase c = usual_case("dense_equivalent");
  c.head.table.optimizer = {.weight_decay = 0.01,
                            .update = CenterOptimizer::Update::kDenseEquivalent};
  c.sample_rate = 0.1;
  c.steps = 9;
  expect_of(c);
}

TEST_P(Head, EqualsItsFormulaWhereTheSampleRateRisesAndFalls) {
  HeadCase c = usual_case("changing rate");
  c.head.table.optimizer = {.weight_decay = 0.01,
                            .update = CenterOptimizer::Update::kDenseEquivalent};
  c.sample_rate = StepwiseNumber({{0, 0.1}, {2, 0.9}, {4, 0.3}, {5, 0.05}});
  c.steps = 7;
  expect_of(c);
}

TEST_P(Head, EqualsItsFormulaNearACosineOfOne) {
  for (const Loss& loss : {Loss(CosFace()), Loss(ArcFace())}) {
    for (const double sign : {1.0, -1.0}) {
      HeadCase c = usual_case("near " + std::to_string(sign));
      c.head.loss = loss;
      c.sample_rate = 1;
      c.steps = 1;
      c.start = [sign](const HeadCase& of, const at::Tensor& weights) {
        return start_near_own_centers(of, weights, sign, 1e-3 / 5);
      };
      expect_of(c);
    }
  }
}

TEST_P(Head, ProbabilitiesKeptInBFloat16MoveCentresByTheirPrecisionAtMost) {
  if (!GetParam().device.is_cpu()) GTEST_SKIP() << "a GPU keeps them in the type of its GEMMs";
  HeadCase c = usual_case("bfloat16 workspace");
  c.head.workspace_bytes = 2 * 50 * 7;  // 36 sampled rows and up to 7 positives; not enough twice
  c.head.table.optimizer.weight_decay = 0;
  HeadOnDevice head(GetParam(), c);
  const HeadResult want = by_formula(c, head.embeddings(), head.state(), 0, 1e-3);
  const HeadResult found = head.step(0, 1e-3);
  EXPECT_NEAR(found.loss, want.loss, 1e-5 * want.loss);
  expect_close(found.d_embeddings, want.d_embeddings, "d_embeddings");
  const at::Tensor momentum = head.state().momentum, &exact = want.after.momentum;
  expect_close(momentum, exact, "momentum", 1.0 / 256);
  EXPECT_GT((momentum - exact).abs().max().item<double>(), 1e-5 * exact.abs().max().item<double>())
      << "bfloat16 was not used";
}

TEST_P(Head, OfLearntSamplesNoDigitsAreLost) {
  for (const double scale : {32.0, 64.0}) {
    SCOPED_TRACE(scale);
    HeadCase c = usual_case("learnt");
    c.head.scale = scale;
    const LearntErrors found = errors_of_learnt_samples(GetParam(), c);
    EXPECT_LT(found.loss, 1e-4);
    EXPECT_LT(found.d_embeddings, 1e-4);
    EXPECT_LT(found.own_momentum, 1e-4);
    EXPECT_LT(found.others_momentum, 1e-4);
  }
}

/// For samples over all rows of a table, in float64 and without a matrix of all logits: the loss of
/// each sample, and that loss's gradient by its embedding.
std::pair<at::Tensor, at::Tensor> losses_over(const at::Tensor& weights, const at::Tensor& x,
                                              const std::vector<std::int64_t>& labels,
                                              double scale) {
  constexpr std::int64_t kRows = 1 << 16;
  const at::Tensor own = unit_rows(weights.index_select(0, at::tensor(labels)).to(at::kDouble));
  at::Tensor sum = at::zeros({x.size(0), 1}, at::kDouble), d = at::zeros_like(x);
  for (std::int64_t begin = 0; begin < weights.size(0); begin += kRows) {
    const std::int64_t rows = std::min(kRows, weights.size(0) - begin);
    const at::Tensor w = unit_rows(weights.narrow(0, begin, rows).to(at::kDouble));
    at::Tensor p = (x.mm(w.t()) * scale - scale).exp();
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] >= begin && labels[i] < begin + rows)
        p[static_cast<std::int64_t>(i)][labels[i] - begin] = 0;
    }
    sum += p.sum(1, true);
    d += p.mm(w);
  }
  const at::Tensor gap = scale + sum.log() - scale * (x * own).sum(1, true);
  return {gap.exp().log1p(), scale * gap.sigmoid() * (d / sum - own)};
}

TEST_P(Head, OfAMillionClassesNoDigitsAreLost) {
  constexpr std::int64_t kClasses = 1'000'000, kNumbers = 48;
  const ClassShard shard(kClasses, 0, 1);
  PartialFcOptions options;
  options.table.dim = kNumbers;
  options.table.optimizer.momentum = 0;
  options.loss = CosFace{.m = 0};
  options.scale = 19.5;  // logits spread as those of 512 numbers do at a scale of 64
  options.gemm = GemmInput::kFloat32;
  options.table.device = GetParam().device;
  options.table.in_host_memory = GetParam().in_host_memory;
  PartialFc head(options, shard);
  const ClassSampler sampler({1.0, Sampling::kStratified, 1}, shard);
  const auto comm = make_self_communicator();
  at::manual_seed(5);
  const at::Tensor embeddings = unit_rows(torch::randn({3, kNumbers}));
  const std::vector<std::int64_t> labels = {999'999, 500'000, 77};
  const at::Tensor weights = head.settled_table().weights();
  // Of the second sample an impostor weighs as much as all others, and comes first. The third is
  // learnt, so that its loss is small and as right as the sum is.
  weights[1000].copy_(0.95 * embeddings[1] + 0.3 * unit_rows(torch::randn({1, kNumbers}))[0]);
  weights[77].copy_(embeddings[2]);
  const at::Tensor x = embeddings.to(at::kDouble);
  const auto [losses, gradients] = losses_over(weights.cpu(), x, labels, options.scale);
  const at::Tensor want = gradients - (gradients * x).sum(1, true) * x;

  const int threads = at::get_num_threads();
  for (std::int64_t i = 0; i < 3; ++i) {
    const GlobalClass label{labels[static_cast<std::size_t>(i)]};
    for (const int n : {1, 2}) {
      if (n > 1 && !GetParam().device.is_cpu()) continue;
      SCOPED_TRACE(std::to_string(i) + " on " + std::to_string(n));
      at::set_num_threads(n);
      head.begin(sampler.draw(0, {&label, 1}), at::ones({1}).to(head.device()));
      head.forward({embeddings.narrow(0, i, 1).to(head.device())}, *comm);
      head.exchange(*comm);
      const double loss = losses[i].item<double>();
      EXPECT_NEAR(head.loss(), loss, 1e-6 * loss);
      // Of a logit of 18.5 alone float32 holds 1e-6, by which an impostor's probability is off; and
      // some BLAS add a tile's classes one after another.
      const at::Tensor d = head.d_embeddings().cpu().to(at::kDouble)[0];
      const at::Tensor found = d - d.dot(x[i]) * x[i];
      EXPECT_LT(((found - want[i]).norm() / gradients[i].norm()).item<double>(), 2e-5);
    }
  }
  at::set_num_threads(threads);
}

TEST_P(Head, OfAClassThatIsAloneHasNoLossAndMovesNothing) {
  HeadCase c = usual_case("alone");
  c.sample_rate = 1;
  c.classes = 1;
  c.labels = {0, 0};
  HeadOnDevice head(GetParam(), c);
  const at::Tensor weights = head.state().weights;
  const HeadResult found = head.step(0, 0.1);
  EXPECT_EQ(found.loss, 0);
  EXPECT_EQ(found.d_embeddings.abs().max().item<float>(), 0);
  const double decay = 0.1 * c.head.table.optimizer.weight_decay;
  EXPECT_LT((head.state().weights - weights * (1 - decay)).abs().max().item<double>(), 1e-7);
}

TEST_P(Head, LosesNothingWhereMaximaRise) {
  // Classes sorted so that every tile's largest logit is above all before it, by far more than the
  // range of exp.
  HeadCase c = usual_case("rising");
  c.head.scale = 200;
  c.head.tile_rows = 2;
  c.sample_rate = 1;
  c.classes = 400;
  c.labels = {3};
  c.steps = 1;
  c.lr = 0.01;
  c.start = [](const HeadCase& of, const at::Tensor& weights) {
    const at::Tensor embeddings = unit_rows(random_start(of, weights));
    for (std::int64_t k = 0; k < of.classes; ++k) {
      const double along = -1 + 1.9 * static_cast<double>(k) / static_cast<double>(of.classes);
      weights[k].copy_(along * embeddings[0] +
                       std::sqrt(1 - along * along) * 0.1 * torch::randn({of.dim()}));
    }
    return embeddings;
  };
  expect_of(c);
}

TEST_P(Head, LeavesRowsThatWereNotSampledUntouched) {
  const HeadCase c = usual_case("");
  HeadOnDevice head(GetParam(), c);
  const at::Tensor before = head.state().weights;
  head.step(0, 0.1);
  const at::Tensor changed = (head.state().weights != before).any(1);
  const SampledClasses classes = draw(c, 0);
  EXPECT_EQ(changed.sum().item<std::int64_t>(), classes.count());
  for (const LocalRow row : classes.rows()) EXPECT_TRUE(changed[row.v].item<bool>());
}

/// A step that must change nothing -> its loss.
double untouched_by_a_step(HeadOnDevice& head, bool skip) {
  const at::Tensor before = head.state().weights;
  const double loss = head.step(0, 0.1, skip).loss;
  const HeadState after = head.state();
  EXPECT_TRUE(after.weights.equal(before));
  EXPECT_EQ(after.momentum.abs().max().item<float>(), 0);
  return loss;
}

TEST_P(Head, LeavesTheCentresUntouchedIfTheLossIsNotFinite) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    HeadCase c = usual_case("not finite");
    c.start = [bad](const HeadCase& of, const at::Tensor& weights) {
      const at::Tensor embeddings = random_start(of, weights);
      embeddings[2][3] = bad;
      return embeddings;
    };
    HeadOnDevice head(GetParam(), c);
    EXPECT_FALSE(std::isfinite(untouched_by_a_step(head, /*skip=*/false)));
  }
}

TEST_P(Head, LeavesTheCentresUntouchedInAStepThatIsToBeSkipped) {
  HeadOnDevice head(GetParam(), usual_case("skipped"));
  EXPECT_TRUE(std::isfinite(untouched_by_a_step(head, /*skip=*/true)));
}

TEST_P(Head, GivesTheSameBitsInTheSameRun) {
  const HeadCase c = usual_case("");
  HeadOnDevice first(GetParam(), c), second(GetParam(), c);
  for (std::int64_t step = 0; step < 10; ++step) {
    for (HeadOnDevice* const head : {&first, &second}) head->step(step, 0.1);
  }
  EXPECT_TRUE(first.state().weights.equal(second.state().weights));
}

TEST_P(Head, GoesOnWithSamplesThatBecomeKnownLater) {
  if (GetParam().in_host_memory) GTEST_SKIP() << "its rows come to the GPU all at once";
  HeadCase first = usual_case("first"), both = usual_case("both");
  first.head.table.optimizer.weight_decay = both.head.table.optimizer.weight_decay = 0;
  // Of three neighbours the step draws two at most.
  both.labels.insert(both.labels.end(), {30, 31, 32});
  both.valid = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1};
  ASSERT_GT(draw(both, 0).count(), draw(first, 0).count());
  HeadOnDevice on_device(GetParam(), both);
  PartialFc& head = on_device.head();
  const HeadState before = on_device.state();
  const at::Tensor all = on_device.embeddings();
  const HeadResult of_first = by_formula(first, all.narrow(0, 0, 7), before, 0, 0.1);
  const HeadResult of_later = by_formula(both, all, before, 0, 0.1);

  const auto comm = make_self_communicator();
  const auto pass = [&](std::int64_t from, std::int64_t count, float by) {
    head.forward({unit_rows(all.narrow(0, from, count)).to(head.device())}, *comm, from);
    head.exchange(*comm);
    head.weigh(at::full({1}, by, at::kFloat).to(head.device()));
    return head.loss();
  };
  Pending nothing(at::Tensor(), nullptr, nullptr);
  head.begin(draw(first, 0), torch::ones({7}).to(head.device()));
  EXPECT_NEAR(pass(0, 7, 0.75f), of_first.loss, 1e-5 * of_first.loss);
  head.accumulate(nothing);
  head.extend(draw(both, 0), at::tensor(both.valid).to(head.device()));
  EXPECT_NEAR(pass(7, 3, 0.5f), of_later.loss, 1e-5 * of_later.loss);
  head.weigh(at::full({1}, 2, at::kFloat).to(head.device()), PartialFc::GradientsOf::kEarlierOnes);
  head.update(0.1, nothing);
  // After one step the momentum is the gradient.
  expect_close(on_device.state().momentum,
               1.5 * of_first.after.momentum + 0.5 * of_later.after.momentum, "gradient",
               GetParam().tolerance);
}

TEST_P(Head, GoesOnWithAnotherOptimizer) {
  HeadCase sgd = usual_case("SGD"), adamw = usual_case("AdamW");
  adamw.head.table.optimizer = {.kind = CenterOptimizer::Kind::kAdamW,
                                .weight_decay = 0.05,
                                .beta1 = 0.8,
                                .beta2 = 0.95,
                                .epsilon = 1e-6};
  HeadOnDevice changed(GetParam(), sgd), made(GetParam(), adamw);
  changed.step(0, 0.1);
  changed.head().set_optimizer(adamw.head.table.optimizer);
  made.head().settled_table().weights().copy_(changed.state().weights);
  for (std::int64_t step = 1; step < 4; ++step) {
    for (HeadOnDevice* const head : {&changed, &made}) head->step(step, 0.01);
  }
  const HeadState found = changed.state(), want = made.state();
  EXPECT_TRUE(found.weights.equal(want.weights));
  EXPECT_TRUE(found.momentum.equal(want.momentum));
  EXPECT_TRUE(found.squares.equal(want.squares));
  EXPECT_TRUE(found.updates.equal(want.updates));
  CenterTable& table = changed.head().settled_table();
  EXPECT_EQ(table.bytes(), made.head().settled_table().bytes());
  EXPECT_EQ(table.steps(), 4);
  EXPECT_THROW(changed.head().set_optimizer({.kind = CenterOptimizer::Kind::kAdamW,
                                             .update = CenterOptimizer::Update::kDenseEquivalent}),
               Error);
}

TEST_P(Head, EqualsItsFormulaWithMomentumAndDecayThatChange) {
  for (const auto update :
       {CenterOptimizer::Update::kSampled, CenterOptimizer::Update::kDenseEquivalent}) {
    HeadCase c = usual_case("changes");
    c.sample_rate = 0.1;
    c.head.table.optimizer.update = update;
    HeadOnDevice head(GetParam(), c);
    HeadState state = head.state();
    for (std::int64_t step = 0; step < 6; ++step) {
      c.head.table.optimizer.momentum = 0.9 - 0.1 * static_cast<double>(step / 2);
      c.head.table.optimizer.weight_decay = 0.01 * static_cast<double>(step / 3);
      state = by_formula(c, head.embeddings(), state, step, 0.1).after;
      head.head().set_optimizer(c.head.table.optimizer);
      head.step(step, 0.1);
    }
    expect_close(head.state().weights, state.weights, "weights", GetParam().tolerance);
    expect_close(head.state().momentum, state.momentum, "momentum", GetParam().tolerance);
  }
}

TEST_P(Head, PartsOutliveIt) {
  at::Tensor weights, copy;
  {
    HeadOnDevice head(GetParam(), usual_case(""));
    weights = head.head().settled_table().weights();
    copy = weights.clone();
  }
  EXPECT_TRUE(weights.equal(copy));
}

TEST_P(Head, RefusesEmbeddingsThatAreNotTheSteps) {
  const HeadCase c = usual_case("");
  HeadOnDevice on_device(GetParam(), c);
  PartialFc& head = on_device.head();
  const at::TensorOptions here(GetParam().device);
  head.begin(draw(c, 0), torch::ones({7}, here));
  const auto comm = make_self_communicator();
  EXPECT_THROW(head.forward({torch::randn({4, c.dim()}, here)}, *comm, 4), c10::Error);
  EXPECT_THROW(head.forward({torch::randn({7, c.dim() + 1}, here)}, *comm), c10::Error);
  EXPECT_THROW(head.begin(draw(c, 0), torch::ones({6}, here)), c10::Error);
}

TEST_P(Head, RefusesOptionsThatMakeNoSense) {
  const auto head = [](PartialFcOptions options) {
    options.table.device = GetParam().device;
    PartialFc(options, ClassShard(10, 0, 1));
  };
  EXPECT_THROW(head({.table = {.dim = 0}}), Error);
  EXPECT_THROW(head({.scale = 0}), Error);
  EXPECT_THROW(head({.loss = MagFace{.l_a = 5, .u_a = 5}}), Error);
}

}  // namespace
}  // namespace pfc
