#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// NOLINTNEXTLINE: torch::nn::Module is the type that users build on
#include <torch/nn/module.h>

#include "pfc/base/checksum.h"
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

/// A saved backbone: `.safetensors` whose metadata name the network and the embedding size, and
/// whose tensors bear the names of the state_dict. Throws Error where a parameter is not float32.
/// Returned is what the file holds.
Checksums save_backbone(const Backbone& backbone, std::string_view name,
                        std::int64_t embedding_size, const std::filesystem::path& path);
/// The same weights for PyTorch: a file that torch.load reads, also as weights only, and whose dict
/// is the state_dict of the field's model of this name.
void save_state_dict(const Backbone& backbone, const std::filesystem::path& path);

/// What network a file holds.
struct BackboneName {
  std::string network;
  std::int64_t embedding_size = 0;
};
/// A network of make_backbone with what a file holds of it.
struct SavedBackbone {
  BackboneName name;
  std::shared_ptr<Backbone> backbone;
};
/// Reads what save_backbone writes, or a PyTorch file: a state_dict, or a dict that holds one under
/// `state_dict`, `state_dict_backbone`, `backbone` or `model`; names may begin with `module.`.
/// Those do not say what network they are of: it is recognised by its tensors, and is `network`
/// where several differ in training only (by default the first of make_backbone). Parameters of
/// float64, float16 or bfloat16 become float32; num_batches_tracked may be missing. Throws
/// DataError where the file is of another network than `network`, which may be empty; where another
/// tensor is missing, where one is unknown or of another shape or type, and where no network is
/// recognised.
SavedBackbone open_backbone(const std::filesystem::path& path, std::string_view network = {});
/// Its backbone alone.
std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path);
/// Loads into a network that is there already, of the file's kind.
void load_backbone(const std::filesystem::path& path, Backbone& backbone);
/// What open_backbone would find, `likely` where several differ in training only.
BackboneName name_of_backbone(const std::filesystem::path& path, std::string_view likely);

/// pixels [b, 112, 112, 3] uint8 RGB -> [b, 3, 112, 112] float32: (x / 255 − 0.5) / 0.5, in the
/// memory format that convolutions run fastest in.
torch::Tensor to_network_input(const torch::Tensor& pixels);

}  // namespace pfc
