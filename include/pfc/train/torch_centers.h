#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace pfc {

/// Class centres that the field's PyTorch code left in a folder, a file a rank:
/// `rank_R_softmax_weight.pt`, a tensor [rows, dim], or `checkpoint_gpu_R.pt`, a dict whose
/// `state_dict_softmax_fc` has it as `weight`.
struct TorchCenters {
  std::vector<std::filesystem::path> files;  ///< by rank
  std::int64_t classes = 0;                  ///< of all ranks
  std::int64_t dim = 0;
  std::filesystem::path backbone;  ///< the file that has the network too; empty where there is none
};

/// Looks at every rank's file, without reading the centres. Throws Error where the folder has no
/// such files or lacks a rank's; DataError where a file has no such tensor of float32, or where the
/// sizes are not those of ClassShard.
TorchCenters find_torch_centers(const std::filesystem::path& folder);

/// Writes each rank's centres into `folder`, as save_centers does. Streamed: none is held in
/// memory. That code takes a `.rec`'s labels as they stand: class i is identity i.
void convert_centers(const TorchCenters& centers, const std::filesystem::path& folder);

}  // namespace pfc
