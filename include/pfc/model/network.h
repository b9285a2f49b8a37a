#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/base/field.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The option of a network that can train low-rank parts beside its weights: their rank, 0: none.
/// The key `model.lora_rank` sets it.
inline constexpr std::string_view kLoraRank = "lora_rank";

/// The shapes of tensors by name: what a file says about a network's tensors.
using TensorShapes = std::map<std::string, std::vector<std::int64_t>>;

/// What a network is made from.
struct NetworkArguments {
  std::int64_t embedding_size;
  std::uint64_t seed;          ///< of the initial values
  const NamedValues& options;  ///< all of Network::options, with the run's values
};

/// A network that a configuration can name.
struct Network {
  std::string name;  ///< as in `model.network`
  /// What `model.options` may set, each with its usual value, which also gives its type.
  NamedValues options = {};
  std::function<std::shared_ptr<Backbone>(const NetworkArguments& arguments)> make;
  /// The embedding size if tensors of such shapes are this network's. Without it, files that do not
  /// name their network (PyTorch's) are not recognised as this one.
  std::function<std::optional<std::int64_t>(const TensorShapes& tensors)> recognise = {};
};

/// Makes a network known to make_backbone, `model.network`, and files of networks. A program does
/// so before anything else, on every rank:
/// ```
/// pfc::register_network({.name = "mine",
///                        .options = {{"width", std::int64_t{64}}},
///                        .make = [](const pfc::NetworkArguments& arguments) {
///                          return std::make_shared<Mine>(
///                              arguments.embedding_size,
///                              std::get<std::int64_t>(arguments.options.at("width")));
///                        }});
/// pfc::train(pfc::load_config("mine.toml", {}), *comm);  // model.network = "mine"
/// ```
/// Throws Error if there is a network of that name.
void register_network(Network network);

/// Throws Error, naming the nearest known name, if there is no such network or if it has no such
/// option.
void require_network(std::string_view name, const NamedValues& options);

}  // namespace pfc
