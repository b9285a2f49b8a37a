#include "head_ways.h"

#include <torch/nn/functional/normalization.h>
#include <torch/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "head_baselines.h"
#include "median.h"
#include "pfc/base/memory.h"
#include "pfc/base/random.h"
#include "pfc/comm/communicator.h"
#include "pfc/head/partial_fc.h"

namespace pfc {
namespace {

constexpr double kLearningRate = 0.1;

using Step = std::function<void(std::int64_t step, const std::vector<GlobalClass>& labels)>;

Loss loss_of(const HeadCase& c) {
  return loss_named(c.loss, Losses(), /*m=*/0.4);
}

PartialFcOptions head_options(const HeadCase& c) {
  PartialFcOptions options;
  options.loss = loss_of(c);
  options.table.dim = kHeadDim;
  options.table.weights = options.table.state = *value_named<NumberType>(c.table);
  options.table.optimizer.update = *value_named<CenterOptimizer::Update>(c.update);
  return options;
}

ClassSampler sampler_of(const HeadCase& c) {
  return {{.sample_rate = c.rate}, ClassShard(c.identities, 0, 1)};
}

std::vector<GlobalClass> random_labels(const HeadCase& c, std::int64_t step) {
  const CounterRandom random(/*seed=*/0, RandomStream::kBenchmark);
  std::vector<GlobalClass> labels;
  for (std::int64_t i = 0; i < c.batch; ++i) {
    labels.push_back({random.below(c.identities, static_cast<std::uint64_t>(step),
                                   static_cast<std::uint64_t>(i))});
  }
  return labels;
}

Step our_step(const HeadCase& c, const at::Tensor& embeddings) {
  const ClassSampler sampler = sampler_of(c);
  const auto head = std::make_shared<PartialFc>(head_options(c), sampler.shard());
  const std::shared_ptr<Communicator> comm = make_self_communicator();
  const at::Tensor valid = torch::ones(c.batch);
  const at::Tensor lengths = torch::empty(c.batch).normal_(/*mean=*/20, /*std=*/4);
  return [=](std::int64_t step, const std::vector<GlobalClass>& labels) {
    head->begin(sampler.draw(step, labels), valid);
    head->forward({embeddings, lengths}, *comm);
    head->exchange(*comm);
    Pending dx = comm->reduce_scatter(head->d_embeddings());
    head->update(kLearningRate, dx);
    dx.wait();
  };
}

Step baseline_step(const HeadCase& c, const std::string& way, const at::Tensor& embeddings) {
  const auto make = way == "dense" ? make_dense_baseline : make_gather_baseline;
  const std::shared_ptr<HeadBaseline> head =
      make({.sample_rate = c.rate, .lr = kLearningRate},
           torch::empty({c.identities, kHeadDim}).normal_(0, 0.01));
  return [=](std::int64_t, const std::vector<GlobalClass>& labels) {
    std::vector<std::int64_t> numbers;
    for (const GlobalClass label : labels) numbers.push_back(label.v);
    head->step(embeddings, torch::tensor(numbers));
  };
}

Step make_step(const HeadCase& c, const std::string& way, const at::Tensor& embeddings) {
  if (way == "ours") return our_step(c, embeddings);
  if (way == "plain") {
    return our_step({.identities = c.identities, .rate = c.rate, .batch = c.batch}, embeddings);
  }
  return baseline_step(c, way, embeddings);
}

}  // namespace

HeadMeasurement measure_head(const HeadCase& c, const std::string& way, std::int64_t steps) {
  using Clock = std::chrono::steady_clock;
  at::manual_seed(0);
  const at::Tensor embeddings = torch::nn::functional::normalize(torch::randn({c.batch, kHeadDim}));
  embeddings.mm(
      embeddings.t());  // memory that the libraries keep for themselves does not count for a head
  reset_peak_memory();
  const std::int64_t without_head = peak_memory();

  const Step take_step = make_step(c, way, embeddings);
  std::vector<double> seconds;
  for (std::int64_t step = 0; step <= steps; ++step) {
    const std::vector<GlobalClass> labels = random_labels(c, step);
    const auto start = Clock::now();
    take_step(step, labels);
    if (step == 0) continue;
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return {median(std::move(seconds)), peak_memory() - without_head};
}

std::int64_t element_bytes(const HeadCase& c) {
  return bytes_of(*value_named<NumberType>(c.table));
}

double least_bytes(const HeadCase& c, const std::string& way) {
  const double elements = static_cast<double>(c.identities * centers_a_class(loss_of(c))) *
                          static_cast<double>(kHeadDim);
  if (way == "ours") return 2 * elements * static_cast<double>(element_bytes(c));
  const double table = elements * sizeof(float);
  if (way == "plain") return 2 * table;
  if (way == "dense") return 4 * table;  // weights, momentum, gradient, gradient with decay
  // Weights and momentum; the sampled rows of both, if they are copied; then unit rows and their
  // gradient.
  return table * (c.rate < 1 ? 2 + 4 * c.rate : 4);
}

std::int64_t centers_a_step(const HeadCase& c) {
  return sampler_of(c).draw(/*step=*/0, random_labels(c, /*step=*/0)).count() *
         centers_a_class(loss_of(c));
}

}  // namespace pfc
