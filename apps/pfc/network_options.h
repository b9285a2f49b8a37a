#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "pfc/comm/launch.h"
#include "pfc/eval/embedder.h"

namespace pfc {

/// How a network embeds images; for every command that needs it.
struct NetworkOptions {
  UseGpus device = UseGpus::kWhereThereAre;
  std::int64_t batch_size = EmbedOptions{}.batch_size;
  bool bgr = false;  ///< the network was trained on BGR images

  void add_options(CLI::App& command);
  /// Loads the network onto the device where it runs; reports the GPU, if it is one.
  std::shared_ptr<Backbone> load(const std::filesystem::path& model) const;
};

}  // namespace pfc
