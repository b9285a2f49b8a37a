#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "pfc/eval/embedder.h"

namespace pfc {

/// How a network embeds images, for every command that has it do so.
struct NetworkOptions {
  std::string device = "auto";
  std::int64_t batch_size = EmbedOptions{}.batch_size;

  void add_options(CLI::App& command);
  /// The network of a file, where it is to work; says so where that is a GPU.
  std::shared_ptr<Backbone> load(const std::filesystem::path& model) const;
};

}  // namespace pfc
