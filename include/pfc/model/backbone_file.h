#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "pfc/base/checksum.h"
#include "pfc/base/field.h"

namespace pfc {

class Backbone;

/// Saves a backbone as `.safetensors`. The metadata name the network and the embedding size; the
/// tensors have the names of the state_dict. Throws Error if a parameter is not float32. Returns
/// the file's checksums.
Checksums save_backbone(const Backbone& backbone, std::string_view name,
                        std::int64_t embedding_size, const std::filesystem::path& path);
/// Saves the same weights for PyTorch: torch.load reads the file, also with weights_only, and its
/// dict is the state_dict of InsightFace's model of this name.
void save_state_dict(const Backbone& backbone, const std::filesystem::path& path);

/// The network that a file holds.
struct BackboneName {
  std::string network;
  std::int64_t embedding_size = 0;
  NamedValues options = {};  ///< of a network that has some
};
/// A network of make_backbone with the weights of a file.
struct SavedBackbone {
  BackboneName name;
  std::shared_ptr<Backbone> backbone;
  /// A sentence, with the file's name, that counts the tensors that were left out; often empty.
  std::string left_out;
};
/// Reads one of these: a file of save_backbone; a PyTorch file that has a state_dict at any depth,
/// or a module that was saved whole; a state_dict as `.safetensors`; an ONNX file of an iResNet or
/// a MobileFaceNet. All but the first do not say which network they belong to, so it is recognised:
/// by its tensors, or by the graph of the ONNX file.
///
/// Names of tensors may share a prefix, such as `module.` or `backbone.`. If several networks
/// differ only in training, it is `network` (by default the first of make_backbone). Tensors of a
/// head, of an optimizer and of a second network are left out. Parameters of float64, float16 or
/// bfloat16 become float32; num_batches_tracked may be missing.
///
/// Batch normalisations that are folded in an ONNX file only add something, until init.from has
/// measured their statistics (see docs/design.md).
///
/// Throws DataError if the file is of another kind, or of another network than `network` (which may
/// be empty); if another tensor is missing; if one is unknown or has another shape or type; and if
/// no network is recognised.
SavedBackbone open_backbone(const std::filesystem::path& path, std::string_view network = {});
/// Only the backbone of the file.
std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path);
/// Loads into an existing network of the same kind as the file's. Low-rank parts (model.lora_rank)
/// of another rank than this network's are merged into the weights. Low-rank parts that the file
/// does not have stay as they are. Returns SavedBackbone::left_out.
std::string load_backbone(const std::filesystem::path& path, Backbone& backbone);
/// The network that open_backbone would find; `likely` if several differ only in training.
BackboneName name_of_backbone(const std::filesystem::path& path, std::string_view likely);

}  // namespace pfc
