#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace pfc {

/// Class centres that InsightFace's PyTorch code left in a folder, one file for each rank:
/// `rank_R_softmax_weight.pt`, a tensor [rows, dim], or `checkpoint_gpu_R.pt`, a dict whose
/// `state_dict_softmax_fc` has it as `weight`.
struct TorchCenters {
  std::vector<std::filesystem::path> files;  ///< by rank
  std::int64_t classes = 0;                  ///< of all ranks
  std::int64_t dim = 0;
  std::filesystem::path backbone;  ///< the file that also has the network; empty if there is none
};

/// Examines every rank's file without reading the centres. Throws Error if the folder has no such
/// files or lacks one; DataError if a file has no such float32 tensor, or if the sizes are not
/// those of ClassShard.
TorchCenters find_torch_centers(const std::filesystem::path& folder);

/// Writes each rank's centres into `folder`, as save_centers does, streamed. That code uses a
/// `.rec`'s labels unchanged, so class i is identity i.
void convert_centers(const TorchCenters& centers, const std::filesystem::path& folder);

}  // namespace pfc
