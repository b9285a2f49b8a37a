#include "pfc/model/network.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <utility>

#include "base/edit_distance.h"
#include "model/ir.h"
#include "model/iresnet.h"
#include "model/mobilefacenet.h"
#include "model/tensor_shapes.h"
#include "model/vit.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

/// Far beyond any use; a damaged file must not ask for more memory than there is.
constexpr std::int64_t kMaxEmbeddingSize = 8192;

template <class Shape, class Make, class Recognise>
Network built_in(std::string name, const Shape& shape, Make make, Recognise recognise) {
  return {.name = std::move(name),
          .make =
              [shape, make](const NetworkArguments& arguments) {
                return make(shape, arguments.embedding_size, arguments.seed);
              },
          .recognise = std::bind_front(recognise, shape)};
}

Network vit(const NamedVit& named) {
  const auto& shape = named.shape;
  return {.name = named.name,
          .options = {{std::string(kLoraRank), shape.lora_rank}},
          .make =
              [shape](const NetworkArguments& arguments) {
                VitShape asked = shape;
                asked.lora_rank = std::get<std::int64_t>(arguments.options.find(kLoraRank)->second);
                if (asked.lora_rank < 0 || asked.lora_rank > shape.dim) {
                  throw Error("model.lora_rank is " + std::to_string(asked.lora_rank) +
                              ", want 0 to " + std::to_string(shape.dim));
                }
                return make_vit(asked, arguments.embedding_size, arguments.seed);
              },
          .recognise = std::bind_front(vit_embedding_size, shape)};
}

std::deque<Network> built_in_networks() {
  std::deque<Network> all;
  for (const auto& [name, shape] : named_iresnets())
    all.push_back(built_in(name, shape, make_iresnet, iresnet_embedding_size));
  for (const auto& [name, shape] : named_mobilefacenets())
    all.push_back(built_in(name, shape, make_mobilefacenet, mobilefacenet_embedding_size));
  for (const auto& [name, shape] : named_irs())
    all.push_back(built_in(name, shape, make_ir, ir_embedding_size));
  for (const NamedVit& named : named_vits()) all.push_back(vit(named));
  return all;
}

/// A network stays where it is when others are added.
std::deque<Network>& networks() {
  static std::deque<Network> all = built_in_networks();
  return all;
}

std::vector<std::string> names_in(const std::deque<Network>& all) {
  std::vector<std::string> names;
  for (const Network& network : all) names.push_back(network.name);
  return names;
}

const Network& named_network(std::string_view name) {
  const auto found = std::ranges::find(networks(), name, &Network::name);
  if (found != networks().end()) return *found;
  const std::vector<std::string> names = names_in(networks());
  std::string known;
  for (const std::string& each : names) known += " " + each;
  throw Error("network '" + std::string(name) + "' is unknown; the nearest known one is " +
              std::string(nearest_name(name, names)) + "; known:" + known);
}

/// The network's options, with the given values where there are any.
NamedValues options_of(const Network& network, const NamedValues& given) {
  NamedValues options = network.options;
  for (const auto& [name, value] : given) {
    const auto found = options.find(name);
    if (found == options.end() && name == kLoraRank) {
      throw Error("model.lora_rank: network '" + network.name +
                  "' cannot train low-rank parts; vision transformers can (vit_t, vit_s, …)");
    }
    if (found == options.end()) {
      std::vector<std::string_view> known;
      for (const auto& [each, usual] : options) known.push_back(each);
      throw Error("model.options." + name + ": network '" + network.name + "' has no such option" +
                  (known.empty() ? ", and no other"
                                 : "; the nearest is " + std::string(nearest_name(name, known))));
    }
    if (const auto* whole = std::get_if<std::int64_t>(&value);
        whole && std::holds_alternative<double>(found->second)) {
      found->second = static_cast<double>(*whole);
    } else if (value.index() == found->second.index()) {
      found->second = value;
    } else {
      throw Error("model.options." + name + ": found " + std::string(kind_of(value)) +
                  ", network '" + network.name + "' wants " + std::string(kind_of(found->second)));
    }
  }
  return options;
}

}  // namespace

void register_network(Network network) {
  if (std::ranges::find(networks(), network.name, &Network::name) != networks().end())
    throw Error("network '" + network.name + "' is registered already");
  networks().push_back(std::move(network));
}

void require_network(std::string_view name, const NamedValues& options) {
  options_of(named_network(name), options);
}

const std::vector<std::string>& backbone_names() {
  static const std::vector<std::string> names = names_in(built_in_networks());
  return names;
}

std::shared_ptr<Backbone> make_backbone(std::string_view name, std::int64_t embedding_size,
                                        std::uint64_t seed, const NamedValues& options) {
  if (embedding_size < 1 || embedding_size > kMaxEmbeddingSize) {
    throw Error("embedding size " + std::to_string(embedding_size) + ", want 1 to " +
                std::to_string(kMaxEmbeddingSize));
  }
  const Network& network = named_network(name);
  const NamedValues all = options_of(network, options);
  auto backbone = network.make({embedding_size, seed, all});
  backbone->set_title(network.name);
  backbone->set_options(all);
  return backbone;
}

std::optional<BackboneName> recognise_network(const TensorShapes& tensors,
                                              std::string_view likely) {
  std::optional<BackboneName> recognised;
  for (const Network& network : networks()) {
    if (!network.recognise || (recognised && network.name != likely)) continue;
    if (const auto size = network.recognise(tensors)) recognised = {network.name, *size, {}};
  }
  return recognised;
}

}  // namespace pfc
