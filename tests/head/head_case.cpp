#include "head/head_case.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <variant>

#include "head/kernels/formulas.h"

namespace pfc {
namespace {

using reference::Numbers;

at::Tensor valid_of(const HeadCase& c) {
  return c.valid.empty() ? torch::ones(c.samples()) : at::tensor(c.valid);
}

/// Calls body(first, count) for each micro-batch.
template <class Body>
void for_each_part(const HeadCase& c, const Body& body) {
  const std::int64_t part = c.part > 0 ? c.part : c.samples();
  for (std::int64_t first = 0; first < c.samples(); first += part)
    body(first, std::min(part, c.samples() - first));
}

/// Own draws of the samples from `first` on.
at::Tensor normals_of(const HeadCase& c, std::int64_t step, std::int64_t first,
                      std::int64_t count) {
  const CounterRandom random(c.head.table.seed, RandomStream::kLoss);
  std::vector<double> normals;
  for (std::int64_t i = first; i < first + count; ++i)
    normals.push_back(kernels::formulas::loss_draw(random, step, i));
  return at::tensor(normals, at::kDouble);
}

/// [n, C, d] → the losses of a micro-batch [n], of the sampled centres w and the samples x.
template <class L>
at::Tensor losses_of(const L& loss, const HeadCase& c, const reference::Samples& part,
                     const at::Tensor& all_cosines, const at::Tensor& own, Numbers& moving) {
  reference::follow(loss, part, moving);
  at::Tensor cosines = all_cosines;
  if (c.head.interclass_filter > 0) {
    cosines = cosines.masked_fill(cosines > c.head.interclass_filter,
                                  -std::numeric_limits<double>::infinity());
  }
  at::Tensor logits = reference::others(loss, cosines, part, moving);
  logits = logits.scatter(1, own, reference::own(loss, part, moving).unsqueeze(1));
  return -torch::log_softmax(logits * c.head.scale, 1).gather(1, own).squeeze(1) +
         reference::penalty(loss, part.lengths);
}

/// The optimizer's step of the rows `index`.
void update(const CenterOptimizer& optimizer, double lr, const at::Tensor& index,
            const at::Tensor& gradient, HeadState& state) {
  at::Tensor w = state.weights.index_select(0, index), m = state.momentum.index_select(0, index);
  if (optimizer.kind == CenterOptimizer::Kind::kSgd) {
    m = optimizer.momentum * m + gradient + optimizer.weight_decay * w;
    w = w - lr * m;
  } else {
    const at::Tensor number = state.updates.index_select(0, index) + 1,
                     n = number.to(at::kDouble).unsqueeze(1);
    m = 0.9 * m + 0.1 * gradient;
    const at::Tensor q = 0.999 * state.squares.index_select(0, index) + 0.001 * gradient.square();
    w = w * (1 - lr * optimizer.weight_decay) -
        lr * m / (1 - at::pow(0.9, n)) / ((q / (1 - at::pow(0.999, n))).sqrt() + 1e-8);
    state.squares = state.squares.index_copy(0, index, q);
    state.updates = state.updates.index_copy(0, index, number);
  }
  state.weights = state.weights.index_copy(0, index, w);
  state.momentum = state.momentum.index_copy(0, index, m);
}

PartialFcOptions on_device(PartialFcOptions options, const TestDevice& device) {
  options.table.device = device.device;
  options.table.in_host_memory = device.in_host_memory;
  if (!options.gemm) options.gemm = GemmInput::kFloat32;
  return options;
}

}  // namespace

HeadCase usual_case(std::string name) {
  HeadCase c{.name = std::move(name)};
  c.head.table.dim = 24;
  c.head.table.seed = 3;
  c.head.tile_rows = 16;
  c.head.scale = 16;
  return c;
}

at::Tensor unit_rows(const at::Tensor& x) {
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

at::Tensor random_start(const HeadCase& c, const at::Tensor& weights) {
  at::manual_seed(5);
  weights.copy_(torch::randn(weights.sizes()) * 0.5);
  return unit_rows(torch::randn({c.samples(), c.dim()})) *
         torch::linspace(5, 120, c.samples()).unsqueeze(1);
}

at::Tensor start_near_own_centers(const HeadCase& c, const at::Tensor& weights, double sign,
                                  double off) {
  const at::Tensor embeddings = random_start(c, weights), unit = unit_rows(embeddings);
  const std::int64_t centers = weights.size(0) / c.classes;
  for (std::int64_t i = 0; i < c.samples(); ++i) {
    weights[c.labels[static_cast<std::size_t>(i)] * centers].copy_(sign * unit[i] +
                                                                   off * torch::randn({c.dim()}));
  }
  return embeddings;
}

SampledClasses draw(const HeadCase& c, std::int64_t step) {
  std::vector<GlobalClass> labels;
  for (const auto label : c.labels) labels.push_back({label});
  return ClassSampler({c.sample_rate, Sampling::kStratified, 1}, ClassShard(c.classes, 0, 1))
      .draw(step, labels);
}

HeadResult by_formula(const HeadCase& c, const at::Tensor& embeddings, const HeadState& before,
                      std::int64_t step, double lr) {
  HeadState after = before;
  for (at::Tensor* const part : {&after.weights, &after.momentum, &after.squares}) {
    if (part->defined()) *part = part->to(at::kDouble);
  }
  const std::int64_t centers = centers_a_class(c.head.loss);
  const SampledClasses classes = draw(c, step);
  std::vector<std::int64_t> rows, targets;
  for (const SampledPlace place : classes.targets) targets.push_back(place.v);
  for (const LocalRow row : classes.rows()) {
    for (std::int64_t k = 0; k < centers; ++k) rows.push_back(row.v * centers + k);
  }
  const at::Tensor index = at::tensor(rows), target = at::tensor(targets);
  const at::Tensor x = embeddings.to(at::kDouble).detach().requires_grad_();
  const at::Tensor w = after.weights.index_select(0, index).requires_grad_();
  const at::Tensor all_valid = valid_of(c).to(at::kDouble);
  at::Tensor total = at::zeros({}, at::kDouble);
  for_each_part(c, [&](std::int64_t first, std::int64_t count) {
    const at::Tensor part = x.narrow(0, first, count),
                     own = target.narrow(0, first, count).unsqueeze(1),
                     valid = all_valid.narrow(0, first, count);
    const at::Tensor cosines =
        unit_rows(part).mm(unit_rows(w).t()).view({count, -1, centers}).amax(2);
    const reference::Samples samples{.cosines = cosines.gather(1, own).squeeze(1),
                                     .lengths = part.norm(2, 1),
                                     .normals = normals_of(c, step, first, count),
                                     .valid = valid};
    const at::Tensor losses = std::visit(
        [&](const auto& loss) { return losses_of(loss, c, samples, cosines, own, after.moving); },
        c.head.loss);
    total = total + (losses * valid).sum() / all_valid.sum();
  });
  total.backward();

  const CenterOptimizer& optimizer = c.head.table.optimizer;
  if (optimizer.update == CenterOptimizer::Update::kDenseEquivalent) {
    update(optimizer, lr, at::arange(after.weights.size(0)),
           at::zeros_like(after.weights).index_copy(0, index, w.grad()), after);
  } else {
    update(optimizer, lr, index, w.grad(), after);
  }
  return {total.item<double>(), x.grad(), after};
}

HeadOnDevice::HeadOnDevice(const TestDevice& device, const HeadCase& c)
    : c_(c), device_(device.device), head_(on_device(c.head, device), ClassShard(c.classes, 0, 1)) {
  const at::Tensor weights = head_.settled_table().weights().cpu();
  embeddings_ = (c.start ? c.start : random_start)(c, weights);
  head_.settled_table().weights().copy_(weights);
}

HeadState HeadOnDevice::state() {
  CenterTable& table = head_.settled_table();
  const auto part = [&](const char* name) {
    const at::Tensor numbers = table.part(name);
    return numbers.defined() ? numbers.cpu().clone() : at::Tensor();
  };
  std::vector<LocalRow> rows;
  for (std::int64_t row = 0; row < table.shard().rows(); ++row) rows.push_back({row});
  const at::Tensor weights = table.rows(rows);
  table.catch_up();
  EXPECT_TRUE(table.weights().cpu().equal(weights)) << "rows() and catch_up() differ";
  const at::Tensor moving = head_.moving_numbers().cpu();
  return {.weights = weights,
          .momentum = part("momentum"),
          .squares = part("squares"),
          .updates = part("updates"),
          .moving = Numbers(moving.const_data_ptr<double>(),
                            moving.const_data_ptr<double>() + moving.numel())};
}

void HeadOnDevice::set(const HeadState& state) {
  head_.settled_table().weights().copy_(state.weights);
  head_.settled_table().part("momentum").copy_(state.momentum);
  head_.moving_numbers().copy_(at::tensor(state.moving, at::kDouble));
}

HeadResult HeadOnDevice::step(std::int64_t step, double lr, bool skip) {
  const auto comm = make_self_communicator();
  std::vector<at::Tensor> gradients;
  head_.begin(draw(c_, step), valid_of(c_).to(device_));
  for_each_part(c_, [&](std::int64_t first, std::int64_t count) {
    const at::Tensor x = embeddings_.narrow(0, first, count).to(device_),
                     length = x.norm(2, 1, true), unit = x / length;
    head_.forward({unit, length.squeeze(1)}, *comm, first);
    head_.exchange(*comm);
    const at::Tensor d_unit = head_.d_embeddings();
    at::Tensor gradient = (d_unit - (d_unit * unit).sum(1, true) * unit) / length;
    if (head_.d_lengths().defined()) gradient = gradient + head_.d_lengths().unsqueeze(1) * unit;
    gradients.push_back(gradient.cpu());
    Pending in_flight = comm->reduce_scatter(head_.d_embeddings());
    if (first + count < c_.samples()) {
      head_.accumulate(in_flight);
    } else {
      head_.update(lr, in_flight, skip ? torch::ones({1}).to(device_) : at::Tensor());
    }
  });
  return {head_.loss(), at::cat(gradients), {}};
}

void expect_close(const at::Tensor& found, const at::Tensor& want, const std::string& what,
                  double tolerance) {
  const double largest = want.abs().max().item<double>();
  EXPECT_LT((found.to(at::kDouble) - want.to(at::kDouble)).abs().max().item<double>(),
            tolerance * largest + 1e-6)
      << what;
}

void expect_equals_the_formula(const TestDevice& device, const HeadCase& c) {
  SCOPED_TRACE(std::string(loss_name(c.head.loss)) + ", " + c.name);
  const int threads = at::get_num_threads();
  if (device.device.is_cpu()) at::set_num_threads(c.threads);
  HeadOnDevice head(device, c);
  HeadState state = head.state();
  for (std::int64_t step = 0; step < c.steps; ++step) {
    SCOPED_TRACE(step);
    const double lr = c.lr / static_cast<double>(step + 1);
    const HeadResult want = by_formula(c, head.embeddings(), state, step, lr);
    const HeadResult found = head.step(step, lr);
    state = want.after;
    EXPECT_NEAR(found.loss, want.loss, device.tolerance * std::max(1.0, want.loss));
    expect_close(found.d_embeddings, want.d_embeddings, "d_embeddings", device.tolerance);
    // A table in host memory is looked at after some steps, so that others find it under way.
    if (step % 3 < 2 && step + 1 < c.steps) {
      head.head().prefetch(draw(c, step + 1));
      continue;
    }
    const HeadState after = head.state();
    expect_close(after.weights, state.weights, "weights", device.tolerance);
    expect_close(after.momentum, state.momentum, "momentum", device.tolerance);
    if (state.squares.defined())
      expect_close(after.squares, state.squares, "squares", device.tolerance);
    ASSERT_EQ(after.moving.size(), state.moving.size());
    for (std::size_t i = 0; i < state.moving.size(); ++i)
      EXPECT_NEAR(after.moving[i], state.moving[i], 1e-6 * std::abs(state.moving[i]) + 1e-9);
  }
  at::set_num_threads(threads);
}

double error_of(const at::Tensor& found, const at::Tensor& want) {
  const at::Tensor exact = want.cpu().to(at::kDouble);
  return ((found.cpu().to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

LearntErrors errors_of_learnt_samples(const TestDevice& device, HeadCase c) {
  c.head.loss = CosFace{.m = 0};
  c.head.table.optimizer.weight_decay = 0;  // the momentum is the gradient
  c.sample_rate = 1;
  c.labels = {3, 17, 60, 40, 89, 0, 5};
  c.start = [](const HeadCase& of, const at::Tensor& weights) {
    return start_near_own_centers(of, weights, 1, 0.25 / std::sqrt(of.dim()));
  };
  HeadOnDevice head(device, c);
  const HeadResult want = by_formula(c, head.embeddings(), head.state(), 0, 0.1);
  EXPECT_LT(want.loss, 1e-3);
  const HeadResult found = head.step(0, 0.1);
  const at::Tensor momentum = head.state().momentum, own = at::tensor(c.labels);
  const auto others = [&](const at::Tensor& all) { return all.index_fill(0, own, 0); };
  return {std::abs(found.loss / want.loss - 1), error_of(found.d_embeddings, want.d_embeddings),
          error_of(momentum.index_select(0, own), want.after.momentum.index_select(0, own)),
          error_of(others(momentum), others(want.after.momentum))};
}

}  // namespace pfc
