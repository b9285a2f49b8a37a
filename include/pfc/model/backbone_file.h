#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "pfc/base/checksum.h"

namespace pfc {

class Backbone;

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
  /// A sentence, with the file's name, that counts the tensors which were left out; often empty.
  std::string left_out;
};
/// Reads what save_backbone writes; or a PyTorch file that has a state_dict at any depth, or a
/// module that was saved whole; or a state_dict as `.safetensors`. Names may begin with a prefix
/// that all share, `module.` or `backbone.`. Those do not say what network they are of: it is
/// recognised by its tensors, and is `network` where several differ in training only (by default
/// the first of make_backbone). A head's tensors, an optimizer's, and those of a second network are
/// left out. Parameters of float64, float16 or bfloat16 become float32; num_batches_tracked may be
/// missing. Throws DataError where the file is of another kind, or of another network than
/// `network`, which may be empty; where another tensor is missing, where one is unknown or of
/// another shape or type, and where no network is recognised.
SavedBackbone open_backbone(const std::filesystem::path& path, std::string_view network = {});
/// Its backbone alone.
std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path);
/// Loads into a network that is there already, of the file's kind. Returns SavedBackbone::left_out.
std::string load_backbone(const std::filesystem::path& path, Backbone& backbone);
/// What open_backbone would find, `likely` where several differ in training only.
BackboneName name_of_backbone(const std::filesystem::path& path, std::string_view likely);

}  // namespace pfc
