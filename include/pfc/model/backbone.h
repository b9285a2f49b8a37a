#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// NOLINTNEXTLINE: torch::nn::Module is the type that users build on
#include <torch/nn/module.h>

#include "pfc/comm/communicator.h"

namespace pfc {

/// A network from faces to embeddings: images [b, 3, 112, 112] float32, normalised -> [b,
/// embedding_size] float32.
class Backbone : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(torch::Tensor images) = 0;

  /// From here on these parts ("conv1", "layer1", "layer2.0") do not train: their parameters want
  /// no gradient, and their batch normalisation normalises with what it has seen before. Throws
  /// Error where there is no such part, or nothing else is left to train.
  void freeze(const std::vector<std::string>& parts);
  void train(bool on = true) override;

  /// Says which images the next forward in training has: those of a step's global batch from
  /// position `first_image` on. What a network draws (stochastic depth, hidden tokens) is a
  /// function of (make_backbone's seed, step, position), so neither ranks nor micro-batches nor a
  /// resumed run change it. A network that draws throws std::logic_error where it was not told; the
  /// others ignore it.
  virtual void set_draws([[maybe_unused]] std::int64_t step,
                         [[maybe_unused]] std::int64_t first_image) {}

  /// What messages and exported files call it: make_backbone's name for it, else its class.
  std::string title() const { return title_.empty() ? name() : title_; }
  void set_title(std::string title) { title_ = std::move(title); }

 private:
  std::string title_;
  std::vector<std::shared_ptr<torch::nn::Module>> frozen_;
};

/// A network by its name. Parameter names and initialisation are those of the field's PyTorch
/// models.
/// - r18 r34 r50 r100 r124 r200, tiny: iResNets; `tiny` is for CPUs
/// - mbf mbf_large: MobileFaceNets
/// - vit_t vit_s vit_b vit_l vit_h, and vit_t_dp005_mask0 vit_s_dp005_mask_0 vit_b_dp005_mask_005
///   vit_l_dp005_mask_005: vision transformers and what WebFace42M's are trained as
/// Initial values depend on `seed` alone. Throws Error, naming the known ones.
std::shared_ptr<Backbone> make_backbone(std::string_view name, std::int64_t embedding_size,
                                        std::uint64_t seed);
const std::vector<std::string>& backbone_names();

/// From here on, batch normalisation in training normalises over the images of all ranks, which
/// must train together; by default over a rank's own. `comm` must outlive the backbone's training.
/// For networks of make_backbone.
void synchronise_batch_norm(Backbone& backbone, Communicator& comm);

/// Puts a backbone there; on a GPU convolutions have their weights in channels_last, as their
/// images are.
void move_to(at::Device device, Backbone& backbone);

/// pixels [b, 112, 112, 3] uint8 RGB -> [b, 3, 112, 112] float32: (x / 255 − 0.5) / 0.5, in the
/// memory format that convolutions run fastest in.
torch::Tensor to_network_input(const torch::Tensor& pixels);

}  // namespace pfc
