#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// NOLINTNEXTLINE: torch::nn::Module is the type that users build on
#include <torch/nn/module.h>

namespace pfc {

/// A network from faces to embeddings: images [b, 3, 112, 112] float32, normalised -> [b,
/// embedding_size] float32.
class Backbone : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(torch::Tensor images) = 0;
};

/// A network by its name: r18 r34 r50 r100 r124 r200 tiny. Parameter names and initialisation are
/// those of the field's PyTorch models. Initial values depend on `seed` alone. Throws Error, naming
/// the known ones.
std::shared_ptr<Backbone> make_backbone(std::string_view name, std::int64_t embedding_size,
                                        std::uint64_t seed);
const std::vector<std::string>& backbone_names();

/// A saved backbone: `.safetensors` whose metadata name the network and the embedding size, and
/// whose tensors bear the names of the state_dict. Throws Error where a parameter is not float32.
void save_backbone(const Backbone& backbone, std::string_view name, std::int64_t embedding_size,
                   const std::filesystem::path& path);
/// Throws DataError where a tensor is missing, unknown or of another shape.
std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path);

/// pixels [b, 112, 112, 3] uint8 RGB -> [b, 3, 112, 112] float32: (x / 255 − 0.5) / 0.5, in the
/// memory format that convolutions run fastest in.
torch::Tensor to_network_input(const torch::Tensor& pixels);

}  // namespace pfc
