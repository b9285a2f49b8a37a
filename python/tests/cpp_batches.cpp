// Batches as `pfc train` loads them, for a test of the Python package: of STEPS steps from FIRST
// on, writes this rank's labels (int64) and pixels of each to OUTPUT. The rest of the arguments is
// a configuration, KEY=VALUE.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "pfc/data/loader.h"
#include "pfc/plan/step_plan.h"
#include "train/from_config.h"
#include "train/training_set.h"

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const int rank = std::stoi(argv[1]), world = std::stoi(argv[2]);
  const std::int64_t first = std::stoll(argv[3]), steps = std::stoll(argv[4]);
  std::ofstream output(argv[5], std::ios::binary);
  try {
    const pfc::Config config =
        pfc::parse_config("", "none", std::vector<std::string>(argv + 6, argv + argc));
    const auto comm = pfc::make_self_communicator();
    const auto dataset = pfc::open_training_set(config, {}, {}, *comm);
    const pfc::ClassSampler sampler({.sample_rate = 0.5, .seed = config.train.seed},
                                    pfc::ClassShard(dataset->identities(), rank, world));
    const pfc::StepPlanner planner(pfc::planner_options(config), dataset->labels(), sampler);
    pfc::Loader loader(
        *dataset, [&](std::int64_t step) { return planner.at(step); }, first, rank, world,
        pfc::loader_options(config, {}));
    for (std::int64_t step = 0; step < steps; ++step) {
      const auto [plan, batch] = loader.next();
      for (std::size_t i = 0; i < batch.valid.size(); ++i) {
        const std::int64_t label = plan.labels[plan.place(rank, world, i)].v;
        output.write(reinterpret_cast<const char*>(&label), sizeof label);
      }
      output.write(reinterpret_cast<const char*>(batch.pixels.data()),
                   static_cast<std::streamsize>(batch.pixels.size()));
    }
  } catch (const pfc::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return output ? 0 : 1;
}
