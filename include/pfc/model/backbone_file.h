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
};
/// Reads what save_backbone writes, or a PyTorch file: a state_dict, or a dict that holds one under
/// `state_dict`, `state_dict_backbone`, `backbone` or `model`, or a state_dict as `.safetensors`;
/// names may begin with `module.`. Those do not say what network they are of: it is recognised by
/// its tensors, and is `network` where several differ in training only (by default the first of
/// make_backbone). Parameters of float64, float16 or bfloat16 become float32; num_batches_tracked
/// may be missing. Throws DataError where the file is of another network than `network`, which may
/// be empty; where another tensor is missing, where one is unknown or of another shape or type, and
/// where no network is recognised.
SavedBackbone open_backbone(const std::filesystem::path& path, std::string_view network = {});
/// Its backbone alone.
std::shared_ptr<Backbone> load_backbone(const std::filesystem::path& path);
/// Loads into a network that is there already, of the file's kind.
void load_backbone(const std::filesystem::path& path, Backbone& backbone);
/// What open_backbone would find, `likely` where several differ in training only.
BackboneName name_of_backbone(const std::filesystem::path& path, std::string_view likely);

}  // namespace pfc
