// Images a second of whole training steps, data in memory: random pixels -> backbone -> CosFace
// over every class -> backward -> SGD. `train_bench.py` does the same in PyTorch; `train_bench.sh`
// runs the two in turn.
#include <ATen/Parallel.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "pfc/base/memory.h"
#include "pfc/comm/communicator.h"
#include "pfc/train/train_step.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: train_bench NETWORK THREADS STEPS\n");
    return 2;
  }
  constexpr std::int64_t kBatch = 128, kClasses = 3642;
  constexpr int kWarmUp = 2;
  const std::string network = argv[1];
  const int steps = std::stoi(argv[3]);
  pfc::keep_freed_memory();
  at::set_num_threads(std::stoi(argv[2]));

  std::mt19937 random(1);
  pfc::Batch batch;
  batch.valid.assign(kBatch, 1);
  batch.pixels.resize(kBatch * 112 * 112 * 3);
  std::ranges::generate(batch.pixels, [&] { return static_cast<std::uint8_t>(random()); });
  std::vector<std::int32_t> labels(kBatch);
  std::ranges::generate(labels, [&] { return static_cast<std::int32_t>(random() % kClasses); });

  const auto comm = pfc::make_self_communicator();
  const pfc::ClassShard shard(kClasses, comm->rank(), comm->world());
  const pfc::ClassSampler sampler({.sample_rate = 1.0}, shard);
  const pfc::StepPlanner planner({.batch_size = kBatch}, labels, sampler);
  const auto backbone = pfc::make_backbone(network, 512, 1);
  pfc::PartialFc head({.dim = 512}, shard);
  torch::optim::SGD optimizer(backbone->parameters(),
                              torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(5e-4));
  pfc::Training training{*backbone, head, optimizer, *comm, 5.0};

  std::vector<double> seconds;
  for (int step = 0; step < kWarmUp + steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    pfc::train_step(planner.at(step), batch, /*lr=*/0.01, training);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (step >= kWarmUp) seconds.push_back(taken.count());
  }
  std::ranges::sort(seconds);
  std::printf("%.1f\n", kBatch / seconds[seconds.size() / 2]);
}
