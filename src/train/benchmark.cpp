#include "pfc/train/benchmark.h"

#include <torch/nn/functional/normalization.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "pfc/base/memory.h"
#include "pfc/base/random.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/placement.h"
#include "pfc/head/head_memory.h"
#include "pfc/train/train_step.h"
#include "train/device.h"

namespace pfc {
namespace {

constexpr double kLearningRate = 0.1;

StepPlan random_plan(const BenchmarkOptions& options, const ClassSampler& sampler,
                     std::int64_t step) {
  const CounterRandom random(options.head.table.seed, RandomStream::kBenchmark);
  StepPlan plan;
  plan.step = step;
  plan.images.resize(static_cast<std::size_t>(options.batch_size));
  std::iota(plan.images.begin(), plan.images.end(), 0);
  for (std::int64_t i = 0; i < options.batch_size; ++i) {
    plan.labels.push_back({random.below(options.identities, static_cast<std::uint64_t>(step),
                                        static_cast<std::uint64_t>(i))});
  }
  plan.classes = sampler.draw(step, plan.labels);
  return plan;
}

/// Steps of the head on embeddings that every rank already has.
class HeadAlone {
 public:
  HeadAlone(const BenchmarkOptions& options, PartialFc& head, Communicator& comm)
      : head_(head),
        comm_(comm),
        embeddings_(torch::nn::functional::normalize(
                        torch::randn({options.batch_size, options.head.table.dim}))
                        .to(comm.device())),
        valid_(torch::ones(options.batch_size, at::TensorOptions(comm.device()))) {}

  void step(const StepPlan& plan) {
    head_.begin(plan.classes, valid_);
    head_.forward({embeddings_}, comm_);
    head_.exchange(comm_);
    Pending dx = comm_.reduce_scatter(head_.d_embeddings());
    head_.update(kLearningRate, dx);
    dx.wait();
  }
  void wait() const { (void)head_.loss(); }

 private:
  PartialFc& head_;
  Communicator& comm_;
  at::Tensor embeddings_, valid_;
};

std::shared_ptr<Backbone> network_on(at::Device device, const BenchmarkOptions& options) {
  auto network = make_backbone(options.network, options.head.table.dim, options.head.table.seed);
  move_to(device, *network);
  return network;
}

/// Whole training steps on pixels in memory.
class WithNetwork {
 public:
  WithNetwork(const BenchmarkOptions& options, PartialFc& head, Communicator& comm)
      : backbone_(network_on(comm.device(), options)),
        gradients_(backbone_->parameters(), comm),
        optimizer_(make_backbone_optimizer("sgd", backbone_->named_parameters(),
                                           {.momentum = 0.9, .weight_decay = 5e-4})),
        training_{*backbone_, head, gradients_, *optimizer_, comm} {
    const auto images = static_cast<std::size_t>(options.batch_size / comm.world());
    const at::Tensor pixels =
        torch::randint(0, 256, {static_cast<std::int64_t>(images), 112, 112, 3}, at::kByte);
    const auto* const first = pixels.const_data_ptr<std::uint8_t>();
    batch_.pixels.assign(first, first + pixels.numel());
    batch_.valid.assign(images, 1);
    training_.precision = usual_precision(comm.device());
    if (training_.precision == at::kHalf) training_.scaler = &scaler_.emplace(comm.device());
  }

  void step(const StepPlan& plan) {
    made_.emplace(train_step(plan, batch_, kLearningRate, training_));
  }
  void wait() { made_->wait(); }

 private:
  std::shared_ptr<Backbone> backbone_;
  GradientBuckets gradients_;
  std::unique_ptr<BackboneOptimizer> optimizer_;
  std::optional<LossScaler> scaler_;
  Training training_;
  Batch batch_;
  std::optional<PendingStep> made_;
};

/// The median time over the steps after the first, and the mean number of centres.
template <class Steps>
BenchmarkResult measure(const BenchmarkOptions& options, const ClassSampler& sampler,
                        PartialFc& head, Communicator& comm) {
  Steps steps(options, head, comm);
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  std::int64_t centers = 0;
  StepPlan next = random_plan(options, sampler, 0);
  for (std::int64_t step = 0; step <= options.steps; ++step) {
    const StepPlan plan = std::exchange(next, random_plan(options, sampler, step + 1));
    comm.barrier();
    const auto start = Clock::now();
    steps.step(plan);
    head.prefetch(next.classes);
    steps.wait();
    comm.barrier();
    if (step == 0) continue;
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    centers += plan.classes.count();
  }
  std::ranges::sort(seconds);
  return {.seconds = seconds[seconds.size() / 2], .centers = centers / options.steps};
}

void join_results(BenchmarkResult& result, Communicator& comm) {
  const at::Tensor mine =
      torch::tensor({result.centers, result.table_bytes, result.memory_bytes}, at::kLong);
  const at::Tensor all = comm.all_gather(mine.unsqueeze(0)).wait();
  result.centers = all.select(1, 0).sum().item<std::int64_t>();
  result.table_bytes = all.select(1, 1).max().item<std::int64_t>();
  result.memory_bytes = all.select(1, 2).max().item<std::int64_t>();
}

}  // namespace

BenchmarkResult benchmark(BenchmarkOptions options, Communicator& comm) {
  const at::Device device = comm.device();
  options.head.table.device = device;
  reset_peak_memory();
  const Placement place = place_ranks(comm);
  const ClassShard shard(options.identities, comm.rank(), comm.world());
  const ClassSampler sampler({.sample_rate = options.sample_rate,
                              .sampling = options.sampling,
                              .seed = options.head.table.seed},
                             shard);
  require_whole_batch(options.batch_size, comm.world(), 1);
  require_head_memory(options.head, shard,
                      {.rows = sampler.most_rows(options.batch_size),
                       .samples = options.batch_size,
                       .threads = tiles_at_once(device)},
                      free_memory(device, place));
  comm.barrier();  // all ranks must have read the free memory before one takes some
  at::manual_seed(options.head.table.seed);
  PartialFc head(options.head, shard);
  BenchmarkResult result = options.network.empty()
                               ? measure<HeadAlone>(options, sampler, head, comm)
                               : measure<WithNetwork>(options, sampler, head, comm);
  result.table_bytes = head.settled_table().bytes();
  result.memory_bytes = device.is_cuda() ? peak_gpu_memory(device.index()) : peak_memory();
  join_results(result, comm);
  return result;
}

}  // namespace pfc
