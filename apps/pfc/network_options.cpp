#include "network_options.h"

#include "choice_option.h"
#include "pfc/base/progress.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/launch.h"
#include "pfc/model/backbone.h"

namespace pfc {

void NetworkOptions::add_options(CLI::App& command) {
  add_choice(command, "--device", device, "Where the network runs; auto: on a GPU if there is one");
  command.add_option("--batch", batch_size, "Images at a time")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command.add_flag(
      "--bgr", bgr,
      "The network wants its pixels as blue, green, red, as AdaFace's do. (pfc convert "
      "--bgr changes the network.)");
}

std::shared_ptr<Backbone> NetworkOptions::load(const std::filesystem::path& model) const {
  const Launch launch = find_launch();
  const EmbeddingNetwork loaded = load_embedding_network(model, device, launch.local_rank);
  if (!loaded.left_out.empty() && launch.rank == 0) tell(loaded.left_out);
  if (loaded.gpu && launch.rank == 0) tell("device: " + gpu_properties(*loaded.gpu).name);
  if (bgr) swap_red_and_blue(*loaded.network);
  return loaded.network;
}

}  // namespace pfc
