// Images a second of whole training steps: images -> backbone -> CosFace over every class ->
// backward -> SGD. Images are decoded from a .rec while the network works, as `pfc train` does it,
// or are random pixels in memory. `train_bench.py` does the same in PyTorch; `train_bench.sh` runs
// the two in turn.
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "pfc/base/memory.h"
#include "pfc/comm/communicator.h"
#include "pfc/data/dataset.h"
#include "pfc/data/loader.h"
#include "pfc/train/train_step.h"

namespace {

constexpr std::int64_t kRandomClasses = 3642;

/// A step of a large network takes seconds for each image.
std::int64_t batch_of(const std::string& network) {
  return network == "tiny" ? 128 : 32;
}

pfc::Batch random_batch(std::int64_t size) {
  std::mt19937 random(1);
  pfc::Batch batch;
  batch.valid.assign(static_cast<std::size_t>(size), 1);
  batch.pixels.resize(static_cast<std::size_t>(size * 112 * 112 * 3));
  std::ranges::generate(batch.pixels, [&] { return static_cast<std::uint8_t>(random()); });
  return batch;
}

std::vector<std::int32_t> random_labels(std::int64_t size) {
  std::mt19937 random(2);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(size));
  std::ranges::generate(labels,
                        [&] { return static_cast<std::int32_t>(random() % kRandomClasses); });
  return labels;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: train_bench NETWORK THREADS STEPS [TRAIN.rec]\n");
    return 2;
  }
  constexpr int kWarmUp = 2;
  const std::string network = argv[1];
  const std::int64_t batch = batch_of(network);
  const int steps = std::stoi(argv[3]);
  pfc::keep_freed_memory();
  at::set_num_threads(std::stoi(argv[2]));

  std::unique_ptr<pfc::Dataset> dataset;
  if (argc == 5) {
    dataset = pfc::open_dataset(
        {.path = argv[4], .cache_dir = std::filesystem::temp_directory_path(), .min_images = 2});
  }
  const std::vector<std::int32_t> labels =
      dataset ? std::vector(dataset->labels().begin(), dataset->labels().end())
              : random_labels(batch);

  const auto comm = pfc::make_self_communicator();
  const pfc::ClassShard shard(dataset ? dataset->identities() : kRandomClasses, comm->rank(),
                              comm->world());
  const pfc::ClassSampler sampler({.sample_rate = 1.0}, shard);
  const pfc::StepPlanner planner({.batch_size = batch}, labels, sampler);
  const auto backbone = pfc::make_backbone(network, 512, 1);
  pfc::PartialFc head({.table = {.dim = 512}}, shard);
  const auto optimizer = pfc::make_backbone_optimizer("sgd", backbone->named_parameters(),
                                                      {.momentum = 0.9, .weight_decay = 5e-4});
  pfc::GradientBuckets gradients(backbone->parameters(), *comm);
  pfc::Training training{*backbone, head, gradients, *optimizer, *comm, 5.0};

  std::optional<pfc::Loader> loader;
  if (dataset) {
    loader.emplace(
        *dataset, [&](std::int64_t step) { return planner.at(step); }, 0, 0, 1,
        pfc::LoaderOptions{.threads = 1});
  }
  const pfc::Batch random = random_batch(batch);

  std::vector<double> seconds;
  for (int step = 0; step < kWarmUp + steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    if (loader) {
      auto [plan, images] = loader->next();
      pfc::train_step(plan, images, /*lr=*/0.01, training);
      loader->recycle(std::move(images));
    } else {
      pfc::train_step(planner.at(step), random, /*lr=*/0.01, training);
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (step >= kWarmUp) seconds.push_back(taken.count());
  }
  std::ranges::sort(seconds);
  std::printf("%.1f\n", static_cast<double>(batch) / seconds[seconds.size() / 2]);
}
