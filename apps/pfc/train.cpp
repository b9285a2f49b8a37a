#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "pfc/base/memory.h"
#include "pfc/comm/communicator.h"
#include "pfc/comm/join_ranks.h"
#include "pfc/train/config.h"
#include "pfc/train/trainer.h"

namespace pfc {

void add_train(CLI::App& app) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    bool resume = false;
  };
  CLI::App* command = app.add_subcommand("train", "Train a network");
  const auto options = std::make_shared<Options>();
  command->add_option("CONFIG", options->config, "The configuration of the run, a .toml")
      ->required()
      ->type_name("FILE");
  command
      ->add_option("--set", options->overrides, "Set a key after the file is read; may be repeated")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  command->add_flag("--resume", options->resume,
                    "Continue from the newest complete checkpoint in the output folder. If the "
                    "folder has nothing of a run yet, begin the run");
  command->footer([] {
    return "Examples:\n"
           "  pfc train configs/faces_tiny.toml --set data.train=faces/train.rec --set "
           "head.sample_rate=0.1\n"
           "  mpirun -np 4 pfc train configs/faces_tiny.toml --set data.train=faces/train.rec\n"
           "  torchrun --no-python --nproc-per-node 4 pfc train configs/faces_tiny.toml --set "
           "data.train=faces/train.rec\n"
           "  pfc train configs/faces_tiny.toml --set data.train=faces/train.rec --resume\n"
           "  pfc train mine.toml --set init.from=output/best.safetensors --set "
           "schedule.lr=0.01\n\n"
           "The keys of a .toml, their defaults and what they accept:\n\n" +
           config_reference();
  });
  command->callback([options] {
    keep_freed_memory();
    const Config config = load_config(options->config, options->overrides);
    const auto comm =
        join_ranks(find_launch(), config.train.device, std::chrono::seconds(config.train.timeout));
    train(config, *comm, options->resume ? Start::kResume : Start::kAnew);
  });
}

}  // namespace pfc
