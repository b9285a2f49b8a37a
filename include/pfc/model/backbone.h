#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// NOLINTNEXTLINE: torch::nn::Module is the type that users build on
#include <torch/nn/module.h>

#include "pfc/base/field.h"
#include "pfc/comm/communicator.h"

namespace pfc {

/// A network from faces to embeddings: images [b, 3, 112, 112] float32, normalised -> [b,
/// embedding_size] float32.
class Backbone : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(torch::Tensor images) = 0;

  /// From now on these parts ("conv1", "layer1", "layer2.0") do not train: their parameters get no
  /// gradient, and their batch normalisation uses its running statistics. Throws Error if there is
  /// no such part, or if nothing else is left to train.
  void freeze(const std::vector<std::string>& parts);
  void train(bool on = true) override;
  /// What `model.lora_rank` added becomes part of the weights that it was added to. The embeddings
  /// stay the same but for rounding. Nothing where nothing was added.
  void merge_low_rank();

  /// Tells the network which images the next forward pass in training has: `images` of a step's
  /// global batch, beginning at position `first_image`. Random draws of a network (stochastic
  /// depth, hidden tokens) are a function of (make_backbone's seed, step, position), so ranks,
  /// micro-batches and resuming do not change them. A network that draws throws std::logic_error if
  /// it was not told; other networks ignore it.
  virtual void set_draws([[maybe_unused]] std::int64_t step,
                         [[maybe_unused]] std::int64_t first_image,
                         [[maybe_unused]] std::int64_t images) {}

  /// Whether training on a GPU may record `forward` and its backward pass once, as a CUDA graph,
  /// and launch the record at each step: the host never waits for the GPU in it, draws nothing at
  /// random but in set_draws, and does the same for every batch of a size. The networks that are
  /// built in are recordable.
  virtual bool is_recordable() const { return false; }

  /// The name for messages and exported files: make_backbone's name for the network, otherwise its
  /// class.
  std::string title() const { return title_.empty() ? name() : title_; }
  void set_title(std::string title) { title_ = std::move(title); }

  /// What make_backbone made it with, its usual values included; saved with its weights.
  const NamedValues& options() const { return options_; }
  void set_options(NamedValues options) { options_ = std::move(options); }

 protected:
  /// Nothing trains but what is registered afterwards.
  void freeze_all();

 private:
  std::string title_;
  NamedValues options_;
  std::vector<std::shared_ptr<torch::nn::Module>> frozen_;
};

/// Makes a network by its name. Parameter names and initialisation are those of InsightFace's
/// PyTorch models, where nothing else is said.
/// - r18 r34 r50 r100 r124 r200, tiny: iResNets; `tiny` is for CPUs
/// - mbf mbf_large: MobileFaceNets
/// - ir_18 ir_34 ir_50 ir_101: AdaFace's iResNets; ir_50_evolve ir_101_evolve ir_152_evolve:
///   face.evoLVe's; with the parameter names of those projects
/// - vit_t vit_s vit_b vit_l vit_h, and vit_t_dp005_mask0 vit_s_dp005_mask_0 vit_b_dp005_mask_005
///   vit_l_dp005_mask_005: vision transformers and the variants that are trained on WebFace42M
///
/// Others are those of register_network (network.h), which may have options. Initial values depend
/// only on `seed`. Throws Error, naming the known ones, for other names
/// and options.
std::shared_ptr<Backbone> make_backbone(std::string_view name, std::int64_t embedding_size,
                                        std::uint64_t seed, const NamedValues& options = {});
/// The names of the networks that are built in.
const std::vector<std::string>& backbone_names();

/// From now on, batch normalisation in training normalises over the images of all ranks, which must
/// train together; by default it uses a rank's own images. `comm` must outlive the backbone's
/// training. It holds for torch::nn::BatchNorm1d, 2d and 3d too, and for every call of LibTorch's
/// batch normalisation with a buffer of the network. Throws Error for a batch normalisation that
/// keeps no running statistics.
void synchronise_batch_norm(Backbone& backbone, Communicator& comm);

/// Makes a network for BGR images one for RGB, or the other way round: its first convolution gets
/// its input channels in the reverse order. Throws Error if it has no convolution of 3 channels.
void swap_red_and_blue(Backbone& backbone);

/// Moves a backbone to a device. On a GPU the weights of convolutions are put into channels_last,
/// like the images.
void move_to(at::Device device, Backbone& backbone);

/// pixels [b, 112, 112, 3] uint8 RGB -> [b, 3, 112, 112] float32: (x / 255 − 0.5) / 0.5, in the
/// memory format in which convolutions are fastest.
torch::Tensor to_network_input(const torch::Tensor& pixels);

}  // namespace pfc
