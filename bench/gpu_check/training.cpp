#include <chrono>
#include <cstdio>
#include <utility>
#include <vector>

#include "gpu_check/small_training.h"
#include "median.h"

namespace pfc::gpu_check {
namespace {

void train(at::ScalarType precision, std::int64_t batch, std::int64_t steps) {
  SmallTraining run(precision, batch);
  double first_loss = 0;
  std::vector<double> seconds;
  auto mark = std::chrono::steady_clock::now();
  for (std::int64_t step = 0; step < steps; ++step) {
    run.step();
    if (step == 1) first_loss = run.loss_before();
    if (step % 10 == 9) {
      const auto end = std::chrono::steady_clock::now();
      seconds.push_back(std::chrono::duration<double>(end - mark).count() / 10);
      mark = end;
    }
  }
  const double last_loss = run.loss();
  seconds.erase(seconds.begin());
  std::printf("r18 in %-8s batch %lld, %lld steps: loss %.2f, then %.2f; %.0f images/s\n",
              name(precision).c_str(), static_cast<long long>(batch), static_cast<long long>(steps),
              first_loss, last_loss, static_cast<double>(batch) / median(std::move(seconds)));
  if (!(last_loss < 0.5 * first_loss)) fail("the loss did not halve");
}

/// r18 in evaluation on the CPU, and on the GPU, whose convolutions multiply in TF32.
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
