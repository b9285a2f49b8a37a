// Trains as `mpirun -n RANKS pfc train` does, on ranks that meet in another way.
//
//   own_communicator RANKS CONFIG.toml [KEY=VALUE]...
#include <pfc/train/config.h>
#include <pfc/train/trainer.h>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "star_communicator.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: own_communicator RANKS CONFIG.toml [KEY=VALUE]...\n";
    return 2;
  }
  return on_processes(std::atoi(argv[1]), [&](pfc::Communicator& comm) {
    try {
      pfc::train(pfc::load_config(argv[2], std::vector<std::string>(argv + 3, argv + argc)), comm);
      return 0;
    } catch (const std::exception& error) {
      std::cerr << "own_communicator: " << error.what() << "\n";
      return 1;
    }
  });
}
