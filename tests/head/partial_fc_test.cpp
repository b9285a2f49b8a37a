#include "pfc/head/partial_fc.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>

#include "pfc/base/error.h"

// The streaming head compared with autograd through an explicit float64 matrix of logits.

namespace pfc {
namespace {

constexpr std::int64_t kDim = 24;

struct Case {
  std::string name;
  PartialFcOptions head;
  std::function<at::Tensor(at::Tensor cosine)> phi;  ///< the margin, differentiable
  std::int64_t classes = 90;
  double sample_rate = 0.4;
  std::vector<std::int64_t> labels = {3, 17, 17, 40, 89, 0, 5};
  std::vector<float> valid = {1, 1, 1, 1, 1, 1, 1};
};

struct Result {
  double loss;
  at::Tensor d_embeddings, weights, momentum;
};

at::Tensor unit_rows(const at::Tensor& x) {
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

at::Tensor embeddings_of(std::int64_t batch) {
  at::manual_seed(5);
  return unit_rows(torch::randn({batch, kDim}));
}

SampledClasses draw(const Case& c, std::int64_t step) {
  std::vector<GlobalClass> labels;
  for (const auto label : c.labels) labels.push_back({label});
  return ClassSampler({c.sample_rate, Sampling::kStratified, 1}, ClassShard(c.classes, 0, 1))
      .draw(step, labels);
}

/// The direct way: every logit in a matrix, autograd, and SGD on the sampled rows.
Result naive(const Case& c, const at::Tensor& embeddings, at::Tensor weights, at::Tensor momentum,
             std::int64_t step, double lr) {
  const SampledClasses classes = draw(c, step);
  std::vector<std::int64_t> rows, targets(classes.targets.begin(), classes.targets.end());
  for (const LocalRow row : classes.rows()) rows.push_back(row.v);
  const at::Tensor index = at::tensor(rows), target = at::tensor(targets);
  at::Tensor x = embeddings.to(at::kDouble).requires_grad_();
  at::Tensor w = weights.index_select(0, index).to(at::kDouble).requires_grad_();
  const at::Tensor cosines = unit_rows(x).mm(unit_rows(w).t());
  at::Tensor logits = cosines;
  if (c.head.interclass_filter > 0) {
    logits = logits.masked_fill(logits > c.head.interclass_filter,
                                -std::numeric_limits<double>::infinity());
  }
  const at::Tensor own = cosines.gather(1, target.unsqueeze(1));
  logits = logits.scatter(1, target.unsqueeze(1), c.phi(own)) * c.head.scale;
  const at::Tensor valid = at::tensor(c.valid).to(at::kDouble);
  const at::Tensor losses =
      -torch::log_softmax(logits, 1).gather(1, target.unsqueeze(1)).squeeze(1);
  const at::Tensor loss = (losses * valid).sum() / valid.sum();
  loss.backward();

  at::Tensor v = momentum.index_select(0, index).to(at::kDouble);
  v = c.head.table.optimizer.momentum * v + w.grad() +
      c.head.table.optimizer.weight_decay * w.detach();
  weights = weights.index_copy(0, index, (w.detach() - lr * v).to(at::kFloat));
  momentum = momentum.index_copy(0, index, v.to(at::kFloat));
  return {loss.item<double>(), x.grad(), weights, momentum};
}

void expect_close(const at::Tensor& found, const at::Tensor& want, const char* what,
                  double tolerance = 1e-5) {
  const double largest = want.abs().max().item<double>();
  EXPECT_LT((found.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>(),
            tolerance * largest + 1e-6)
      << what;
}

/// A whole step on one rank.
void take_step(PartialFc& head, const Case& c, const at::Tensor& embeddings,
               const SampledClasses& classes, double lr) {
  const auto comm = make_self_communicator();
  head.begin(classes, at::tensor(c.valid));
  head.forward({embeddings}, *comm);
  head.exchange(*comm);
  Pending in_flight = comm->reduce_scatter(head.d_embeddings());
  head.update(lr, in_flight);
}

/// The head's gradient is by unit vectors; the direct way goes through their normalisation.
at::Tensor through_normalisation(const at::Tensor& dx, const at::Tensor& embeddings) {
  return dx - (dx * embeddings).sum(1, true) * embeddings;
}

/// Five steps of the head and of the direct way, side by side.
void expect_equals_naive(const Case& c) {
  SCOPED_TRACE(c.name);
  PartialFc head(c.head, ClassShard(c.classes, 0, 1));
  const at::Tensor embeddings = embeddings_of(std::ssize(c.labels));
  // Larger than they start, so that five steps leave them where the loss is not saturated.
  head.settled_table().weights().copy_(torch::randn({c.classes, kDim}) * 0.5);
  at::Tensor weights = head.settled_table().weights().clone(),
             momentum = head.settled_table().part("momentum").clone();
  for (std::int64_t step = 0; step < 5; ++step) {
    const double lr = 0.1 / static_cast<double>(step + 1);
    const Result want = naive(c, embeddings, weights, momentum, step, lr);
    take_step(head, c, embeddings, draw(c, step), lr);
    EXPECT_NEAR(head.loss(), want.loss, 1e-5 * std::max(1.0, want.loss));
    expect_close(through_normalisation(head.d_embeddings(), embeddings), want.d_embeddings,
                 "d_embeddings");
    expect_close(head.settled_table().weights(), want.weights, "weights");
    expect_close(head.settled_table().part("momentum"), want.momentum, "momentum");
    weights = want.weights;
    momentum = want.momentum;
    head.settled_table().weights().copy_(weights);
    head.settled_table().part("momentum").copy_(momentum);
  }
}

Case cosface(std::string name) {
  Case c;
  c.name = std::move(name);
  c.head.table.dim = kDim;
  c.head.tile_rows = 16;
  c.head.scale = 16;  // logits that overlap, so that no gradient is lost in saturation
  c.phi = [](at::Tensor cosine) { return cosine - 0.4; };
  return c;
}

Case with_loss(std::string name, const Loss& loss, std::function<at::Tensor(at::Tensor)> phi) {
  Case c = cosface(std::move(name));
  c.head.loss = loss;
  c.phi = std::move(phi);
  return c;
}

at::Tensor arcface(const at::Tensor& cosine) {
  const at::Tensor theta = cosine.clamp(-1, 1).acos();
  return at::where(theta + 0.5 > M_PI, cosine - 0.5 * std::sin(0.5), (theta + 0.5).cos());
}

TEST(PartialFc, StreamingEqualsNaiveForEveryMargin) {
  expect_equals_naive(cosface("cosface"));
  expect_equals_naive(with_loss("arcface", ArcFace{.m = 0.5}, arcface));
  expect_equals_naive(with_loss(
      "arcface, straight through", ArcFace{.m = 0.5, .slope = ArcFace::Slope::kStraightThrough},
      [](at::Tensor cosine) { return cosine + ((cosine.acos() + 0.5).cos() - cosine).detach(); }));
  expect_equals_naive(
      with_loss("combined", CombinedMargin{.m1 = 1.1, .m2 = 0.3, .m3 = 0.2},
                [](at::Tensor cosine) { return (1.1 * cosine.acos() + 0.3).cos() - 0.2; }));
}

TEST(PartialFc, StreamingEqualsNaiveWhereProbabilitiesAreComputedTwice) {
  Case c = cosface("no workspace");
  c.head.workspace_bytes = 0;
  expect_equals_naive(c);
  c.head.interclass_filter = 0.3;
  expect_equals_naive(c);
}

TEST(PartialFc, ProbabilitiesKeptInBFloat16MoveCentresByTheirPrecisionAtMost) {
  Case c = cosface("bfloat16 workspace");
  c.head.workspace_bytes = 2 * 50 * 7;  // 36 sampled rows and up to 7 positives; not enough twice
  c.head.table.optimizer.weight_decay = 0;
  const at::Tensor embeddings = embeddings_of(7);
  PartialFc head(c.head, ClassShard(c.classes, 0, 1));
  const at::Tensor before = head.settled_table().weights().clone();
  const Result want =
      naive(c, embeddings, before, head.settled_table().part("momentum").clone(), 0, 1e-3);
  take_step(head, c, embeddings, draw(c, 0), 1e-3);
  EXPECT_NEAR(head.loss(), want.loss, 1e-5 * want.loss);
  expect_close(through_normalisation(head.d_embeddings(), embeddings), want.d_embeddings,
               "d_embeddings");
  expect_close(head.settled_table().part("momentum"), want.momentum, "momentum", 1.0 / 256);
  const at::Tensor error = (head.settled_table().part("momentum") - want.momentum).abs().max();
  EXPECT_GT(error.item<double>(), 1e-5 * want.momentum.abs().max().item<double>())
      << "bfloat16 was not used";
}

TEST(PartialFc, StreamingEqualsNaiveForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (const int n : {1, 2, 3, 8}) {
    at::set_num_threads(n);
    Case c = cosface(std::to_string(n) + " threads");
    c.head.tile_rows = 5;
    expect_equals_naive(c);
    c.sample_rate = 0;  // fewer rows than threads
    expect_equals_naive(c);
  }
  at::set_num_threads(threads);
}

TEST(PartialFc, StreamingEqualsNaiveForAnyTile) {
  for (const std::int64_t rows : {1, 7, 36, 37, 1000}) {
    Case c = cosface("tile of " + std::to_string(rows));
    c.head.tile_rows = rows;
    expect_equals_naive(c);
  }
}

TEST(PartialFc, StreamingEqualsNaiveForAnyRate) {
  for (const double rate : {0.0, 0.01, 0.5, 1.0}) {
    Case c = cosface("rate " + std::to_string(rate));
    c.sample_rate = rate;
    expect_equals_naive(c);
  }
}

TEST(PartialFc, StreamingEqualsNaiveForAnyBatch) {
  Case c = cosface("batch of one");
  c.labels = {42};
  c.valid = {1};
  expect_equals_naive(c);
  c.name = "one class, many samples";
  c.labels = {42, 42, 42, 42};
  c.valid = {1, 1, 1, 1};
  expect_equals_naive(c);
  c.sample_rate = 0;
  c.name = "nothing but one class";
  c.head.table.optimizer.weight_decay = 1e-2;  // otherwise all gradients are 0
  expect_equals_naive(c);
}

TEST(PartialFc, StreamingEqualsNaiveForTheInterclassFilter) {
  Case c = cosface("filter");
  c.head.interclass_filter = 0.2;
  expect_equals_naive(c);
}

TEST(PartialFc, StreamingEqualsNaiveForSamplesOfWeightZero) {
  Case c = cosface("weights");
  c.valid = {1, 0, 1, 1, 0, 1, 1};
  expect_equals_naive(c);
}

TEST(PartialFc, StreamingEqualsNaiveForTheFieldsScale) {
  Case c = cosface("scale 64");
  c.head.scale = 64;
  expect_equals_naive(c);
}

TEST(PartialFc, StreamingEqualsNaiveNearCosinesOfOne) {
  for (const auto& [name, loss, phi] :
       {std::tuple<std::string, Loss, std::function<at::Tensor(at::Tensor)>>{
            "cosface", CosFace{.m = 0.4}, [](at::Tensor cosine) { return cosine - 0.4; }},
        {"arcface", ArcFace{.m = 0.5}, arcface}}) {
    for (const double sign : {1.0, -1.0}) {
      for (const double off : {1e-1, 1e-2, 1e-3}) {
        Case c = with_loss(name + " near " + std::to_string(sign * (1 - off)), loss, phi);
        c.sample_rate = 1;
        PartialFc head(c.head, ClassShard(c.classes, 0, 1));
        const at::Tensor embeddings = embeddings_of(std::ssize(c.labels));
        const at::Tensor weights = head.settled_table().weights();
        for (std::size_t i = 0; i < c.labels.size(); ++i) {
          weights[c.labels[i]].copy_(sign * embeddings[static_cast<std::int64_t>(i)] +
                                     off * torch::randn({kDim}) / 5);
        }
        const Result want = naive(c, embeddings, weights.clone(),
                                  head.settled_table().part("momentum").clone(), 0, 0.1);
        take_step(head, c, embeddings, draw(c, 0), 0.1);
        EXPECT_NEAR(head.loss(), want.loss, 1e-5 * std::max(1.0, want.loss)) << c.name;
        expect_close(through_normalisation(head.d_embeddings(), embeddings), want.d_embeddings,
                     c.name.c_str());
        expect_close(head.settled_table().weights(), want.weights, c.name.c_str());
      }
    }
  }
}

TEST(PartialFc, OfLearntSamplesNoDigitsAreLost) {
  const auto error = [](const at::Tensor& found, const at::Tensor& want) {
    return ((found - want).norm() / want.norm()).item<double>();
  };
  for (const double scale : {32.0, 64.0}) {
    Case c = with_loss("learnt", CosFace{.m = 0}, [](at::Tensor cosine) { return cosine; });
    c.head.scale = scale;
    c.head.table.optimizer.weight_decay = 0;  // the momentum is the gradient
    c.sample_rate = 1;
    c.labels = {3, 17, 60, 40, 89, 0, 5};
    PartialFc head(c.head, ClassShard(c.classes, 0, 1));
    const at::Tensor embeddings = embeddings_of(std::ssize(c.labels));
    const at::Tensor weights = head.settled_table().weights();
    for (std::size_t i = 0; i < c.labels.size(); ++i) {
      weights[c.labels[i]].copy_(embeddings[static_cast<std::int64_t>(i)] +
                                 0.05 * torch::randn({kDim}));
    }
    const Result want = naive(c, embeddings, weights.clone(),
                              head.settled_table().part("momentum").clone(), 0, 0.1);
    take_step(head, c, embeddings, draw(c, 0), 0.1);
    EXPECT_LT(want.loss, 1e-4);  // 1 − p
    EXPECT_NEAR(head.loss(), want.loss, 1e-4 * want.loss) << scale;
    EXPECT_LT(error(through_normalisation(head.d_embeddings(), embeddings), want.d_embeddings),
              1e-4)
        << scale;
    EXPECT_LT(error(head.settled_table().part("momentum"), want.momentum), 1e-4) << scale;
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

TEST(PartialFc, OfAMillionClassesNoDigitsAreLost) {
  constexpr std::int64_t kClasses = 1'000'000, kNumbers = 48;
  const ClassShard shard(kClasses, 0, 1);
  PartialFcOptions options;
  options.table.dim = kNumbers;
  options.table.optimizer.momentum = 0;
  options.loss = CosFace{.m = 0};
  options.scale = 19.5;  // logits spread as those of 512 numbers do at a scale of 64
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
  const auto [losses, gradients] = losses_over(weights, x, labels, options.scale);
  const at::Tensor want = through_normalisation(gradients, x);

  const int threads = at::get_num_threads();
  for (std::int64_t i = 0; i < 3; ++i) {
    const GlobalClass label{labels[static_cast<std::size_t>(i)]};
    for (const int n : {1, 2}) {
      SCOPED_TRACE(std::to_string(i) + " on " + std::to_string(n));
      at::set_num_threads(n);
      head.begin(sampler.draw(0, {&label, 1}), at::ones({1}));
      head.forward({embeddings.narrow(0, i, 1)}, *comm);
      head.exchange(*comm);
      const double loss = losses[i].item<double>();
      EXPECT_NEAR(head.loss(), loss, 1e-6 * loss);
      // Of a logit of 18.5 alone float32 holds 1e-6, by which an impostor's probability is off; and
      // some BLAS add a tile's classes one after another.
      const at::Tensor found = through_normalisation(head.d_embeddings().to(at::kDouble), x[i]);
      EXPECT_LT(((found - want[i]).norm() / gradients[i].norm()).item<double>(), 2e-5);
    }
  }
  at::set_num_threads(threads);
}

TEST(PartialFc, AClassThatIsAloneHasNoLossAndMovesNothing) {
  Case c = cosface("alone");
  c.sample_rate = 1;
  c.classes = 1;
  c.labels = {0, 0};
  c.valid = {1, 1};
  PartialFc head(c.head, ClassShard(c.classes, 0, 1));
  const at::Tensor weights = head.settled_table().weights().clone();
  take_step(head, c, embeddings_of(2), draw(c, 0), 0.1);
  EXPECT_EQ(head.loss(), 0);
  EXPECT_EQ(head.d_embeddings().abs().max().item<float>(), 0);
  const double decay = 0.1 * c.head.table.optimizer.weight_decay;
  EXPECT_LT((head.settled_table().weights() - weights * (1 - decay)).abs().max().item<double>(),
            1e-7);
}

TEST(PartialFc, RisingMaximaLoseNothing) {
  // Classes sorted so that every tile's largest logit is above all before it, by far more than the
  // range of exp.
  Case c = cosface("rising");
  c.head.scale = 200;
  c.head.tile_rows = 2;
  c.sample_rate = 1;
  c.classes = 40;
  c.labels = {3};
  c.valid = {1};
  PartialFc head(c.head, ClassShard(c.classes, 0, 1));
  const at::Tensor embeddings = embeddings_of(1);
  const at::Tensor weights = head.settled_table().weights();
  for (std::int64_t k = 0; k < c.classes; ++k) {
    const double along = -1 + 1.9 * static_cast<double>(k) / static_cast<double>(c.classes);
    weights[k].copy_(along * embeddings[0] +
                     std::sqrt(1 - along * along) * 0.1 * torch::randn({kDim}));
  }
  const Result want =
      naive(c, embeddings, weights.clone(), head.settled_table().part("momentum").clone(), 0, 0.01);
  take_step(head, c, embeddings, draw(c, 0), 0.01);
  EXPECT_NEAR(head.loss(), want.loss, 1e-5 * want.loss);
  expect_close(head.settled_table().weights(), want.weights, "weights");
}

TEST(PartialFc, MicroBatchesAddUpToTheWholeBatch) {
  Case c = cosface("micro-batches");
  c.valid = {1, 0, 1, 1, 1, 1, 1};
  const at::Tensor embeddings = embeddings_of(7);
  const auto comm = make_self_communicator();
  at::Tensor weights, gradient;
  double loss = 0;
  for (const std::int64_t size : {7, 4, 1}) {
    SCOPED_TRACE(size);
    PartialFc head(c.head, ClassShard(c.classes, 0, 1));
    std::vector<at::Tensor> d_embeddings;
    for (std::int64_t step = 0; step < 2; ++step) {
      head.begin(draw(c, step), at::tensor(c.valid));
      for (std::int64_t first = 0; first < 7; first += size) {
        const std::int64_t samples = std::min<std::int64_t>(size, 7 - first);
        head.forward({embeddings.narrow(0, first, samples)}, *comm, first);
        head.exchange(*comm);
        d_embeddings.push_back(head.d_embeddings().clone());
        Pending in_flight = comm->reduce_scatter(head.d_embeddings());
        if (first + samples < 7) {
          head.accumulate(in_flight);
        } else {
          head.update(0.1, in_flight);
        }
      }
    }
    if (size == 7) {
      weights = head.settled_table().weights().clone();
      gradient = at::cat(d_embeddings);
      loss = head.loss();
    }
    EXPECT_NEAR(head.loss(), loss, 1e-6 * loss);
    expect_close(head.settled_table().weights(), weights, "weights");
    expect_close(at::cat(d_embeddings), gradient, "d_embeddings");
  }
}

TEST(PartialFc, RefusesEmbeddingsThatAreNotTheSteps) {
  const Case c = cosface("");
  PartialFc head(c.head, ClassShard(c.classes, 0, 1));
  head.begin(draw(c, 0), at::tensor(c.valid));
  const auto comm = make_self_communicator();
  EXPECT_THROW(head.forward({embeddings_of(4)}, *comm, 4), c10::Error);
  EXPECT_THROW(head.forward({torch::randn({7, kDim + 1})}, *comm), c10::Error);
  EXPECT_THROW(head.begin(draw(c, 0), torch::ones(6)), c10::Error);
}

TEST(PartialFc, RowsThatWereNotSampledAreUntouched) {
  const Case c = cosface("");
  PartialFc head(c.head, ClassShard(c.classes, 0, 1));
  const at::Tensor before = head.settled_table().weights().clone();
  const SampledClasses classes = draw(c, 0);
  take_step(head, c, embeddings_of(7), classes, 0.1);
  const at::Tensor changed = (head.settled_table().weights() != before).any(1);
  EXPECT_EQ(changed.sum().item<std::int64_t>(), classes.count());
  for (const LocalRow row : classes.rows()) EXPECT_TRUE(changed[row.v].item<bool>());
}

TEST(PartialFc, ALossThatIsNotFiniteLeavesTheCentresUntouched) {
  const Case c = cosface("");
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    PartialFc head(c.head, ClassShard(c.classes, 0, 1));
    const at::Tensor before = head.settled_table().weights().clone();
    at::Tensor embeddings = embeddings_of(7);
    embeddings[2][3] = bad;
    take_step(head, c, embeddings, draw(c, 0), 0.1);
    EXPECT_FALSE(std::isfinite(head.loss()));
    EXPECT_TRUE(head.settled_table().weights().equal(before));
    EXPECT_EQ(head.settled_table().part("momentum").abs().max().item<float>(), 0);
  }
}

TEST(PartialFc, SameThreadsGiveBitEqualRuns) {
  const Case c = cosface("");
  at::Tensor first;
  for (int run = 0; run < 2; ++run) {
    PartialFc head(c.head, ClassShard(c.classes, 0, 1));
    for (std::int64_t step = 0; step < 10; ++step)
      take_step(head, c, embeddings_of(7), draw(c, step), 0.1);
    if (run == 0) first = head.settled_table().weights().clone();
    EXPECT_TRUE(head.settled_table().weights().equal(first));
  }
}

TEST(PartialFc, RefusesOptionsThatMakeNoSense) {
  EXPECT_THROW(PartialFc({.table = {.dim = 0}}, ClassShard(10, 0, 1)), Error);
  EXPECT_THROW(PartialFc({.scale = 0}, ClassShard(10, 0, 1)), Error);
  EXPECT_THROW(PartialFc({.loss = MagFace{.l_a = 5, .u_a = 5}}, ClassShard(10, 0, 1)), Error);
}

}  // namespace
}  // namespace pfc
