// Images a second of whole training steps on random pixels: forward, margin softmax over class centres, backward,
// SGD. `train_bench.py` is the same in PyTorch; `train_bench.sh` runs the two alternately.
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "pfc/model/backbone.h"

namespace {

constexpr std::int64_t kBatch = 128, kClasses = 3642, kDim = 512;
constexpr double kScale = 64, kMargin = 0.4;

/// The plain CosFace head: every class, every step.
struct Head {
  torch::Tensor centres = torch::randn({kClasses, kDim}).mul_(0.01).requires_grad_();

  torch::Tensor loss(const torch::Tensor& embeddings, const torch::Tensor& labels) const {
    namespace F = torch::nn::functional;
    const auto cosine =
        F::normalize(embeddings).mm(F::normalize(centres).t());
    const auto margin = kMargin * F::one_hot(labels, kClasses).to(torch::kFloat32);
    return F::cross_entropy(kScale * (cosine - margin), labels);
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::string network = argc > 1 ? argv[1] : "tiny";
  const int steps = argc > 2 ? std::stoi(argv[2]) : 10;
  at::set_num_threads(2);
  torch::manual_seed(1);

  const auto backbone = pfc::make_backbone(network, kDim, 1);
  const Head head;
  std::vector<torch::Tensor> parameters{head.centres};
  for (const auto& p : backbone->parameters()) {
    if (p.requires_grad()) parameters.push_back(p);
  }
  torch::optim::SGD optimizer(parameters, torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(5e-4));
  const auto pixels = torch::randint(0, 256, {kBatch, 112, 112, 3}, torch::kUInt8);
  const auto labels = torch::randint(0, kClasses, {kBatch}, torch::kInt64);

  std::vector<double> seconds;
  for (int step = -2; step < steps; ++step) {  // the first two warm up
    const auto start = std::chrono::steady_clock::now();
    optimizer.zero_grad();
    head.loss(backbone->forward(pfc::to_network_input(pixels)), labels).backward();
    torch::nn::utils::clip_grad_norm_(backbone->parameters(), 5.0);
    optimizer.step();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (step >= 0) seconds.push_back(taken.count());
  }
  std::ranges::sort(seconds);
  std::printf("%.1f\n", kBatch / seconds[seconds.size() / 2]);
}
