#include "pfc/train/torch_centers.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "head/center_format.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"
#include "pfc/formats/torch_file.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// How one version of InsightFace's code names its files.
struct Layout {
  std::string_view before_rank, after_rank;
  std::string_view dict, tensor;  ///< where the centres are; without a dict the file is the tensor
};
constexpr Layout kTensorFiles = {"rank_", "_softmax_weight.pt", "", ""};
constexpr Layout kCheckpoints = {"checkpoint_gpu_", ".pt", "state_dict_softmax_fc", "weight"};

/// Far beyond any use. Ranks are counted up to the highest.
constexpr int kMaxRank = 99'999;

std::string file_name(const Layout& layout, int rank) {
  return std::string(layout.before_rank) + std::to_string(rank) + std::string(layout.after_rank);
}

std::optional<int> rank_of(const std::string& name, const Layout& layout) {
  int rank = 0;
  const char* first = name.data() + std::min(name.size(), layout.before_rank.size());
  std::from_chars(first, name.data() + name.size(), rank);
  const bool is_of_layout = rank >= 0 && rank <= kMaxRank && name == file_name(layout, rank);
  return is_of_layout ? std::optional(rank) : std::nullopt;
}

std::map<int, fs::path> files_of(const fs::path& folder, const Layout& layout) {
  std::map<int, fs::path> files;
  for (const fs::path& file : entries_of(folder))
    if (const auto rank = rank_of(file.filename().string(), layout)) files[*rank] = file;
  return files;
}

/// A rank's centres, [rows, dim] float32.
TensorStream centers_of(const fs::path& path) {
  const bool is_checkpoint = rank_of(path.filename().string(), kCheckpoints).has_value();
  const TorchFile file = TorchFile::open(path);
  std::optional<TensorStream> centers = file.tensor();
  if (is_checkpoint) {
    const auto tensors = file.tensors(kCheckpoints.dict);
    const auto found = std::ranges::find(tensors, kCheckpoints.tensor, &TensorStream::name);
    centers = found == tensors.end() ? std::nullopt : std::optional(*found);
  }
  const std::string place =
      is_checkpoint ? "state_dict_softmax_fc: tensor 'weight'" : "the file's tensor";
  if (!centers) throw DataError(path.string(), place, "missing");
  if (centers->dtype != "F32" || centers->shape.size() != 2 || centers->shape[1] < 1) {
    throw DataError(path.string(), place,
                    "found " + centers->dtype + " " + shape_text(centers->shape) +
                        ", want F32 [classes of the rank, embedding size]");
  }
  return *std::move(centers);
}

}  // namespace

TorchCenters find_torch_centers(const fs::path& folder) {
  const auto tensor_files = files_of(folder, kTensorFiles);
  const auto checkpoints = files_of(folder, kCheckpoints);
  const auto& layout = checkpoints.empty() ? kTensorFiles : kCheckpoints;
  const auto& files = checkpoints.empty() ? tensor_files : checkpoints;
  if (tensor_files.empty() == checkpoints.empty()) {
    throw Error(folder.string() + ": holds " + (files.empty() ? "neither " : "both ") +
                file_name(kTensorFiles, 0) + (files.empty() ? " nor " : " and ") +
                file_name(kCheckpoints, 0) +
                " and the like, want files of one of these two kinds, one for each rank");
  }
  TorchCenters found;
  std::vector<std::int64_t> rows;
  for (const auto& [rank, path] : files) {
    const int expected = static_cast<int>(rows.size());
    if (rank != expected) {
      throw Error(folder.string() + ": " + file_name(layout, expected) +
                  " is missing; the ranks go to " + std::to_string(files.rbegin()->first));
    }
    const TensorStream centers = centers_of(path);
    if (rank == 0) found.dim = centers.shape[1];
    if (centers.shape[1] != found.dim) {
      throw DataError(path.string(), "centres",
                      "embedding size " + std::to_string(centers.shape[1]) + ", want " +
                          std::to_string(found.dim) + " as rank 0 has");
    }
    found.files.push_back(path);
    found.classes += centers.shape[0];
    rows.push_back(centers.shape[0]);
  }
  const int world = static_cast<int>(rows.size());
  for (int rank = 0; rank < world; ++rank) {
    const auto index = static_cast<std::size_t>(rank);
    const std::int64_t want =
        found.classes == 0 ? 1 : ClassShard(found.classes, rank, world).rows();
    if (rows[index] != want) {
      throw DataError(found.files[index].string(), "centres",
                      "found " + counted(rows[index], "class") + ", want " + grouped(want) +
                          ": a rank's share of the " + grouped(found.classes) + " that " +
                          counted(world, "rank") + " have");
    }
  }
  if (!checkpoints.empty()) {
    found.backbone = found.files[0];
  } else if (is_there(folder / "backbone.pth")) {
    found.backbone = folder / "backbone.pth";
  }
  return found;
}

void convert_centers(const TorchCenters& centers, const fs::path& folder) {
  const int world = static_cast<int>(centers.files.size());
  for (int rank = 0; rank < world; ++rank) {
    TensorStream tensor = centers_of(centers.files[static_cast<std::size_t>(rank)]);
    tensor.name = "centers";
    write_safetensors(
        folder / center_file_name(rank, world), std::vector{std::move(tensor)},
        center_metadata(ClassShard(centers.classes, rank, world), {.classes = centers.classes}));
  }
}

}  // namespace pfc
