#include <algorithm>

#include "pfc/base/error.h"
#include "pfc/train/cost_model.h"

namespace pfc {
namespace {

constexpr double kKiB = 1024, kMiB = kKiB * kKiB, kGiB = kKiB * kMiB;
constexpr double kGiga = 1e9, kTera = 1e12;

template <typename Row>
const Row& find(const std::vector<Row>& rows, std::string_view name, const char* what) {
  const auto found = std::ranges::find(rows, name, &Row::name);
  if (found != rows.end()) return *found;
  std::string known;
  for (const Row& row : rows) known += " " + row.name;
  throw Error(std::string(what) + " \"" + std::string(name) + "\" is unknown; known are" + known);
}

}  // namespace

const std::vector<DeviceCost>& device_costs() {
  // Fitted to published rows: fixed_bytes of the GPUs; v100's backbone, plain head and step;
  // 2080ti's backbone, plain head and network. Measured: cpu. The others are assumed: memory at 85%
  // of its maker's rate; float32 products at 83 to 89%; a100's and h100's backbone at 40% of their
  // half-precision peak (v100 reaches 46%, 2080ti 36%); their plain head at 31% of their float32
  // peak, like v100; host memory at 70% of PCI Express of the third, fourth or fifth generation.
  static const std::vector<DeviceCost> all = {
      {.name = "v100",
       .memory_bytes = 32 * kGiB,
       .fixed_bytes = 1.9 * kGiB,
       .backbone_flops = 57 * kTera,
       .head_flops = 13 * kTera,
       .plain_head_flops = 4.8 * kTera,
       .memory_rate = 780 * kGiga,
       .host_rate = 11 * kGiga,
       .link_rate = 130 * kGiga,
       .network_rate = 10 * kGiga,
       .step_seconds = 0.034},
      {.name = "2080ti",
       .memory_bytes = 11 * kGiB,
       .fixed_bytes = 1.9 * kGiB,
       .backbone_flops = 19.5 * kTera,
       .head_flops = 12 * kTera,
       .plain_head_flops = 5.6 * kTera,
       .memory_rate = 520 * kGiga,
       .host_rate = 11 * kGiga,
       .link_rate = 6 * kGiga,
       .network_rate = 1.8 * kGiga,
       .step_seconds = 0.034},
      {.name = "a100",
       .memory_bytes = 80 * kGiB,
       .fixed_bytes = 1.9 * kGiB,
       .backbone_flops = 125 * kTera,
       .head_flops = 17 * kTera,
       .plain_head_flops = 6 * kTera,
       .memory_rate = 1730 * kGiga,
       .host_rate = 22 * kGiga,
       .link_rate = 230 * kGiga,
       .network_rate = 20 * kGiga,
       .step_seconds = 0.034},
      {.name = "h100",
       .memory_bytes = 80 * kGiB,
       .fixed_bytes = 1.9 * kGiB,
       .backbone_flops = 400 * kTera,
       .head_flops = 57 * kTera,
       .plain_head_flops = 20 * kTera,
       .memory_rate = 2850 * kGiga,
       .host_rate = 44 * kGiga,
       .link_rate = 360 * kGiga,
       .network_rate = 40 * kGiga,
       .step_seconds = 0.034},
      // The machine of docs/benchmarks.md: two cores; its ceilings are in the same document.
      {.name = "cpu",
       .memory_bytes = 24 * kGiB,
       .fixed_bytes = 0.15 * kGiga,
       .kept_times = 1.6,
       .half = false,
       .backbone_flops = 195 * kGiga,
       .head_flops = 195 * kGiga,
       .plain_head_flops = 40 * kGiga,
       .memory_rate = 28 * kGiga,
       .link_rate = 1 * kGiga,
       .network_rate = 1 * kGiga,
       .ranks_a_machine = 1},
  };
  return all;
}

const DeviceCost& device_cost(std::string_view name) {
  return find(device_costs(), name, "device");
}

const std::vector<NetworkCost>& network_costs() {
  // Counted from the networks' shapes. Kept: the input of each convolution, linear layer,
  // normalisation and activation, counted once if two layers read the same; for a transformer's
  // block 16 numbers for each token and channel, because attention in one operator keeps no map.
  static const std::vector<NetworkCost> all = {
      {"r18", 24.03e6, 2.610e9, 11.528e6, 2.684e6},
      {"r34", 34.14e6, 4.460e9, 15.291e6, 3.312e6},
      {"r50", 43.59e6, 6.309e9, 17.700e6, 3.713e6},
      {"r100", 65.16e6, 12.090e9, 27.935e6, 5.419e6},
      {"r124", 86.41e6, 14.864e9, 31.247e6, 5.971e6},
      {"r200", 118.83e6, 23.419e9, 48.859e6, 8.906e6},
      {"tiny", 3.61e6, 0.114e9, 1.468e6, 0.314e6},
      {"mbf", 2.06e6, 0.438e9, 11.303e6, 3.161e6},
      {"mbf_large", 6.31e6, 1.816e9, 28.388e6, 6.222e6},
      {"ir_18", 24.02e6, 2.597e9, 11.328e6, 2.684e6},
      {"ir_34", 34.13e6, 4.447e9, 15.091e6, 3.312e6},
      {"ir_50", 43.59e6, 6.296e9, 17.499e6, 3.713e6},
      {"ir_101", 65.15e6, 12.077e9, 27.735e6, 5.419e6},
      {"ir_50_evolve", 43.57e6, 6.296e9, 14.589e6, 0.803e6},
      {"ir_101_evolve", 65.13e6, 12.077e9, 23.119e6, 0.803e6},
      {"ir_152_evolve", 70.74e6, 12.308e9, 22.116e6, 0.803e6},
      {"vit_t", 19.14e6, 1.505e9, 7.189e6, 0},
      {"vit_s", 76.02e6, 5.747e9, 14.341e6, 0},
      {"vit_b", 113.83e6, 11.437e9, 28.497e6, 0},
      {"vit_l", 255.68e6, 25.338e9, 42.726e6, 0},
      {"vit_h", 756.39e6, 89.199e9, 113.579e6, 0},
  };
  return all;
}

const NetworkCost& network_cost(std::string_view name) {
  // A transformer's variants differ in what they leave out at random, by at most 5 to 10%.
  return find(network_costs(), name.substr(0, name.find("_dp")), "network");
}

HeadWay head_way(std::string_view name) {
  struct Named {
    std::string name;
    HeadWay way;
  };
  static const std::vector<Named> all = {{"tiled", HeadWay::kTiled},
                                         {"pytorch", HeadWay::kPyTorch},
                                         {"mxnet", HeadWay::kMxnet},
                                         {"replicated", HeadWay::kReplicated}};
  return find(all, name, "way").way;
}

}  // namespace pfc
