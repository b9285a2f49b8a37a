// Partial FC on a network of your own: 20,000 classes; each step uses a tenth of them.
//
// The data are points around random class means, and the network is two linear layers. What matters
// is how the head is used: begin, forward, exchange, update, and handing the gradient back to
// autograd.
#include <pfc/head/partial_fc.h>
#include <torch/torch.h>

#include <cstdint>
#include <iostream>
#include <vector>

int main() {
  constexpr std::int64_t kClasses = 20'000, kInputs = 64, kEmbedding = 32, kBatch = 64,
                         kSteps = 200;
  torch::manual_seed(0);
  const torch::Tensor means = torch::randn({kClasses, kInputs});
  torch::nn::Sequential network(torch::nn::Linear(kInputs, 128), torch::nn::PReLU(),
                                torch::nn::Linear(128, kEmbedding));
  torch::optim::SGD optimizer(network->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));

  const auto comm = pfc::make_self_communicator();
  const pfc::ClassShard shard(kClasses, comm->rank(), comm->world());
  const pfc::ClassSampler sampler({.sample_rate = 0.1}, shard);
  pfc::PartialFcOptions options;
  options.table.dim = kEmbedding;
  options.scale = 16;
  pfc::PartialFc head(options, shard);

  for (std::int64_t step = 0; step < kSteps; ++step) {
    std::vector<pfc::GlobalClass> labels;
    for (std::int64_t i = 0; i < kBatch; ++i) labels.push_back({(step * kBatch + i) % 500});
    torch::Tensor inputs = torch::randn({kBatch, kInputs}) / 4;
    for (std::int64_t i = 0; i < kBatch; ++i)
      inputs[i] += means[labels[static_cast<std::size_t>(i)].v];

    const torch::Tensor x = torch::nn::functional::normalize(network->forward(inputs));
    head.begin(sampler.draw(step, labels), torch::ones(kBatch));
    head.forward({comm->all_gather(x.detach()).wait()}, *comm);
    head.exchange(*comm);
    pfc::Pending dx = comm->reduce_scatter(head.d_embeddings());
    head.update(/*lr=*/0.1, dx);  // updates the centres while the embeddings' gradient is under way
    optimizer.zero_grad();
    x.backward(dx.wait());
    optimizer.step();
    if (step % 50 == 0 || step == kSteps - 1)
      std::cout << "step " << step << "  loss " << head.loss() << "\n";
  }
}
