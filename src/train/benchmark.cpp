#include "pfc/train/benchmark.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "pfc/base/memory.h"
#include "pfc/base/random.h"
#include "pfc/head/head_memory.h"
#include "pfc/head/sampler.h"

namespace pfc {
namespace {

std::vector<GlobalClass> random_labels(const HeadBenchmarkOptions& options, std::int64_t step) {
  const CounterRandom random(options.head.table.seed, Stream::kBenchmark);
  std::vector<GlobalClass> labels;
  for (std::int64_t i = 0; i < options.batch_size; ++i) {
    labels.push_back({random.below(options.identities, static_cast<std::uint64_t>(step),
                                   static_cast<std::uint64_t>(i))});
  }
  return labels;
}

}  // namespace

HeadBenchmarkResult benchmark_head(const HeadBenchmarkOptions& options, Communicator& comm) {
  using Clock = std::chrono::steady_clock;
  reset_peak_memory();
  const ClassShard shard(options.identities, comm.rank(), comm.world());
  const ClassSampler sampler({.sample_rate = options.sample_rate, .seed = options.head.table.seed},
                             shard);
  require_head_memory(options.head, shard,
                      {.rows = sampler.most_rows(options.batch_size),
                       .samples = options.batch_size,
                       .threads = at::get_num_threads()},
                      available_memory());
  PartialFc head(options.head, shard);
  at::manual_seed(options.head.table.seed);
  const at::Tensor embeddings =
      torch::nn::functional::normalize(torch::randn({options.batch_size, options.head.table.dim}));
  const at::Tensor valid = torch::ones(options.batch_size);

  HeadBenchmarkResult result;
  std::vector<double> seconds;
  std::int64_t centers = 0;
  for (std::int64_t step = 0; step <= options.steps; ++step) {
    const SampledClasses classes = sampler.draw(step, random_labels(options, step));
    comm.barrier();
    const auto start = Clock::now();
    head.begin(classes, valid);
    head.forward(embeddings);
    head.exchange(comm);
    Pending dx = comm.reduce_scatter(head.d_embeddings());
    head.update(0.1, dx);
    dx.wait();
    comm.barrier();
    if (step == 0) continue;
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    centers += std::ssize(classes.rows);
  }
  std::ranges::sort(seconds);
  result.seconds = seconds[seconds.size() / 2];
  result.centers = centers / options.steps;
  result.table_bytes = head.table().bytes();
  result.memory_bytes = peak_memory();
  return result;
}

}  // namespace pfc
