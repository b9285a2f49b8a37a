#include <torch/optim/sgd.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <vector>

#include "gpu_check/gpu_check.h"
#include "median.h"
#include "pfc/model/backbone.h"
#include "pfc/train/train_step.h"

namespace pfc::gpu_check {
namespace {

/// Steps of r18 on faces of random pixels, each identity around a picture of its own, so that there
/// is something to learn.
void train(at::ScalarType precision, std::int64_t batch, std::int64_t steps) {
  constexpr std::int64_t kIdentities = 1000;
  const ClassShard shard(kIdentities, 0, 1);
  const ClassSampler sampler({.sample_rate = 0.3}, shard);
  auto backbone = make_backbone("r18", kDim, 1);
  move_to(kGpu, *backbone);
  PartialFcOptions options;
  options.table = {.dim = kDim, .device = kGpu};
  PartialFc head(options, shard);
  const auto comm = make_self_communicator();
  GradientBuckets gradients(backbone->parameters(), *comm);
  torch::optim::SGD optimizer(backbone->parameters(),
                              torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(5e-4));
  std::optional<LossScaler> scaler;
  if (precision == at::kHalf) scaler.emplace(kGpu);
  Training training{*backbone,
                    head,
                    gradients,
                    optimizer,
                    *comm,
                    5,
                    NumberType::kFloat32,
                    precision,
                    scaler ? &*scaler : nullptr};
  backbone->train();
  at::manual_seed(1);
  const at::Tensor pictures = torch::rand({kIdentities, 112, 112, 3});
  std::vector<StepPlan> plans;
  std::vector<Batch> batches;
  for (std::int64_t i = 0; i < 10; ++i) {  // rotated: ten batches of ten identities' worth each
    StepPlan& plan = plans.emplace_back();
    std::vector<std::int64_t> identities;
    for (std::int64_t j = 0; j < batch; ++j) {
      identities.push_back((i * batch + j) % 100);
      plan.labels.push_back({identities.back()});
      plan.images.push_back(i * batch + j);
    }
    const at::Tensor noisy = pictures.index_select(0, torch::tensor(identities)) * 200 +
                             torch::rand({batch, 112, 112, 3}) * 55;
    const at::Tensor pixels = noisy.to(at::kByte).contiguous();
    batches.emplace_back().pixels.assign(pixels.const_data_ptr<std::uint8_t>(),
                                         pixels.const_data_ptr<std::uint8_t>() + pixels.numel());
    batches.back().valid.assign(static_cast<std::size_t>(batch), 1);
  }
  double first_loss = 0, last_loss = 0;
  std::optional<PendingStep> before;
  std::vector<double> seconds;
  auto mark = std::chrono::steady_clock::now();
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto i = static_cast<std::size_t>(step % 10);
    plans[i].step = step;
    plans[i].classes = sampler.draw(step, plans[i].labels);
    PendingStep now = train_step(plans[i], batches[i], 0.02, training);
    if (before) {
      const StepResult result = before->wait();
      if (step == 1) first_loss = result.loss;
      last_loss = result.loss;
    }
    before.emplace(std::move(now));
    if (step % 10 == 9) {
      const auto end = std::chrono::steady_clock::now();
      seconds.push_back(std::chrono::duration<double>(end - mark).count() / 10);
      mark = end;
    }
  }
  last_loss = before->wait().loss;
  seconds.erase(seconds.begin());
  std::printf("r18 in %-8s batch %lld, %lld steps: loss %.2f, then %.2f; %.0f images/s\n",
              name(precision).c_str(), static_cast<long long>(batch), static_cast<long long>(steps),
              first_loss, last_loss, static_cast<double>(batch) / median(std::move(seconds)));
  if (!(last_loss < 0.5 * first_loss)) fail("the loss did not halve");
}

/// The same network in evaluation, on the CPU and on the GPU, whose convolutions multiply in TF32.
void check_embedding() {
  const at::NoGradGuard no_grad;
  const auto network = make_backbone("r18", kDim, 1);
  network->eval();
  const at::Tensor pixels = torch::randint(0, 256, {32, 112, 112, 3}, at::kByte);
  const at::Tensor wanted = network->forward(to_network_input(pixels));
  move_to(kGpu, *network);
  expect_below("r18's embeddings in evaluation against the CPU's",
               error_of(network->forward(to_network_input(pixels.to(kGpu))), wanted), 1e-2);
}

}  // namespace

void check_training() {
  check_embedding();
  for (const auto precision : {at::kFloat, at::kBFloat16, at::kHalf}) {
    train(precision, 256, 100);
    give_memory_back();
  }
}

}  // namespace pfc::gpu_check
