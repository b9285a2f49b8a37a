// A network of your own, trained as `pfc train` trains the built-in ones. The program registers it
// under a name, which the configuration gives as model.network; what the network wants to know is
// in model.options.
//
//   own_network CONFIG.toml [KEY=VALUE]...
#include <pfc/comm/communicator.h>
#include <pfc/comm/join_ranks.h>
#include <pfc/comm/launch.h>
#include <pfc/model/network.h>
#include <pfc/train/config.h>
#include <pfc/train/trainer.h>
#include <torch/torch.h>

#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "upside_down.h"

namespace {

/// Four convolutions, each of which halves the image: 112 to 7 pixels.
class SmallNetwork : public pfc::Backbone {
 public:
  /// `slope`: what the PReLUs begin with.
  SmallNetwork(std::int64_t embedding_size, std::int64_t width, double slope) {
    std::int64_t channels = 3;
    for (std::int64_t next = width; next <= 8 * width; next *= 2) {
      layers_->push_back(torch::nn::Conv2d(
          torch::nn::Conv2dOptions(channels, next, 3).stride(2).padding(1).bias(false)));
      layers_->push_back(torch::nn::BatchNorm2d(next));
      layers_->push_back(
          torch::nn::PReLU(torch::nn::PReLUOptions().num_parameters(next).init(slope)));
      channels = next;
    }
    register_module("layers", layers_);
    linear_ = register_module("linear", torch::nn::Linear(channels * 7 * 7, embedding_size));
  }

  torch::Tensor forward(torch::Tensor images) override {
    return linear_->forward(layers_->forward(images).flatten(1));
  }
  /// On a GPU its passes may be recorded: it never waits for the GPU.
  bool is_recordable() const override { return true; }

 private:
  torch::nn::Sequential layers_;
  torch::nn::Linear linear_ = nullptr;
};

std::shared_ptr<pfc::Backbone> make_small_network(const pfc::NetworkArguments& arguments) {
  torch::manual_seed(arguments.seed);  // what the constructors of torch::nn draw from
  return std::make_shared<SmallNetwork>(arguments.embedding_size,
                                        std::get<std::int64_t>(arguments.options.at("width")),
                                        std::get<double>(arguments.options.at("slope")));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: own_network CONFIG.toml [KEY=VALUE]...\n";
    return 2;
  }
  try {
    pfc::register_network({.name = "small",
                           .options = {{"width", std::int64_t{16}}, {"slope", 0.25}},
                           .make = make_small_network});
    register_upside_down();
    const pfc::Config config =
        pfc::load_config(argv[1], std::vector<std::string>(argv + 2, argv + argc));
    const auto comm = pfc::join_ranks(pfc::find_launch(), config.train.device);
    pfc::train(config, *comm);
  } catch (const std::exception& error) {
    std::cerr << "own_network: " << error.what() << "\n";
    return 1;
  }
}
