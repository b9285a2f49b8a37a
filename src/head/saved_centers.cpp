#include "head/saved_centers.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "head/center_format.h"
#include "head/kernels/kernels.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"
#include "pfc/head/number_type.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// How many files the folder's centres are in, by the name of the first.
int world_of(const fs::path& folder) {
  constexpr const char* kPattern = "centers-00001-of-%5d.safetensors";
  for (const fs::path& entry : entries_of(folder)) {
    int world = 0;
    const std::string name = entry.filename().string();
    if (std::sscanf(name.c_str(), kPattern, &world) == 1 && world > 0 &&
        name == center_file_name(0, world)) {
      return world;
    }
  }
  throw Error(folder.string() + ": holds no class centres (centers-00001-of-….safetensors)");
}

NumberType number_type_of(const TensorView& tensor, const SafetensorsFile& file) {
  if (tensor.dtype == "F32") return NumberType::kFloat32;
  if (tensor.dtype == "BF16") return NumberType::kBFloat16;
  throw DataError(file.path().string(), "tensor '" + tensor.name + "'",
                  "dtype " + tensor.dtype + ", want F32 or BF16");
}

/// A row of a mapped tensor [rows, dim]. Kernels take rows that may be written; these are only
/// read.
kernels::Row row_of(const TensorView* tensor, std::int64_t row) {
  if (tensor == nullptr) return {};
  const auto type = tensor->dtype == "F32" ? NumberType::kFloat32 : NumberType::kBFloat16;
  return {const_cast<std::byte*>(tensor->bytes.data()) + row * tensor->shape[1] * bytes_of(type),
          type};
}

ClassShard shard_of(const SafetensorsFile& file, int rank, int world) {
  const std::int64_t classes = file.integer("classes"), centers = centers_a_class_in(file);
  if (centers < 1 || classes < 1 || classes % centers != 0) {
    throw DataError(
        file.path().string(), "__metadata__",
        std::to_string(classes) + " centres, " + std::to_string(centers) + " of each class");
  }
  return ClassShard(classes / centers, rank, world).of_centers(centers);
}

[[noreturn]] void fail_identities(const SafetensorsFile& file, const std::string& what) {
  throw DataError(file.path().string(), kIdentities, what);
}

void add_numbers(const SafetensorsFile& file, std::int64_t rows, ClassIdentities& identities) {
  const TensorView& found = file.tensor(kIdentities);
  if (found.dtype != "I32" || found.shape != std::vector{rows}) {
    fail_identities(file, found.dtype + " " + shape_text(found.shape) + ", want I32 " +
                              shape_text(std::vector{rows}));
  }
  std::vector<std::int32_t>& numbers = identities.numbers;
  const std::size_t before = numbers.size();
  numbers.resize(before + static_cast<std::size_t>(rows));
  std::memcpy(numbers.data() + before, found.bytes.data(), found.bytes.size());
  for (std::size_t i = before; i < numbers.size(); ++i) {
    if (numbers[i] < 0 || numbers[i] >= identities.below)
      fail_identities(
          file, std::to_string(numbers[i]) + ", want 0 to " + std::to_string(identities.below - 1));
  }
}

void add_names(const SafetensorsFile& file, std::int64_t rows, ClassIdentities& identities) {
  const TensorView& found = file.tensor(kIdentities);
  std::string_view text(reinterpret_cast<const char*>(found.bytes.data()), found.bytes.size());
  if (std::ranges::count(text, '\0') != rows || (rows > 0 && text.back() != '\0'))
    fail_identities(file, "want " + std::to_string(rows) + " names, each ended by a 0");
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::size_t end = text.find('\0');
    identities.names.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
}

}  // namespace

SavedCenters::File::File(const fs::path& path, int rank, int world)
    : content(path), shard(shard_of(content, rank, world)), centers(&content.tensor("centers")) {
  const auto require = [&](const TensorView& tensor, std::size_t dimensions) {
    if (tensor.shape.size() != dimensions || tensor.shape[0] != shard.rows() ||
        tensor.shape != (dimensions == 2 ? centers->shape : tensor.shape)) {
      throw DataError(path.string(), "tensor '" + tensor.name + "'",
                      "shape " + shape_text(tensor.shape) + ", want one row for each of " +
                          counted(shard.rows(), "class"));
    }
    if (dimensions == 2) number_type_of(tensor, content);
  };
  require(*centers, 2);
  if (content.integer("first_class") != shard.begin().v)
    throw DataError(path.string(), "__metadata__", "first_class is not this file's");
  const auto& tensors = content.tensors();
  if (std::ranges::find(tensors, "steps_seen", &TensorView::name) == tensors.end()) return;
  const CenterOptimizer optimizer{.momentum = content.real(kSgdMomentum),
                                  .weight_decay = content.real(kWeightDecay)};
  if (optimizer.momentum > 0) {
    momentum = &content.tensor("momentum");
    require(*momentum, 2);
  }
  steps_seen = &content.tensor("steps_seen");
  require(*steps_seen, 1);
  const TensorView& rates = content.tensor(kLearningRates);
  if (steps_seen->dtype != "I32" || rates.dtype != "F64")
    throw DataError(path.string(), "steps_seen, learning_rates", "want I32 and F64");
  skipped.emplace(optimizer);
  for (std::size_t i = 0; i < rates.bytes.size() / sizeof(double); ++i) {
    double rate = 0;
    std::memcpy(&rate, rates.bytes.data() + i * sizeof rate, sizeof rate);
    skipped->push(rate);
  }
}

SavedCenters::SavedCenters(const fs::path& folder) {
  const int world = world_of(folder);
  for (int rank = 0; rank < world; ++rank) {
    const File& file = files_.emplace_back(folder / center_file_name(rank, world), rank, world);
    const std::int64_t dim = file.centers->shape[1];
    if (rank == 0) {
      classes_ = file.shard.of_centers(1).classes();
      centers_a_class_ = file.shard.centers_a_class();
      dim_ = dim;
    } else if (dim != dim_ || file.shard.centers_a_class() != centers_a_class_ ||
               file.shard.of_centers(1).classes() != classes_) {
      throw DataError(file.content.path().string(), "tensor 'centers'",
                      "belongs to other class centres than the folder's first file");
    }
  }
}

std::optional<ClassIdentities> SavedCenters::identities() const {
  const SafetensorsFile& first = files_.front().content;
  if (!first.metadata().contains(kIdentities)) return std::nullopt;
  const std::string called = first.metadata(kIdentities);
  ClassIdentities identities{.classes = classes_, .below = first.integer(kIdentitiesBelow)};
  for (const File& file : files_) {
    if (file.content.metadata(kIdentities) != called)
      fail_identities(file.content,
                      "'" + file.content.metadata(kIdentities) + "', want '" + called + "'");
    if (called == kByNumber) {
      add_numbers(file.content, file.shard.of_centers(1).rows(), identities);
    } else if (called == kByName) {
      add_names(file.content, file.shard.of_centers(1).rows(), identities);
    } else if (called != kByClass) {
      fail_identities(file.content, "'" + called + "' is no way to call them");
    }
  }
  return identities;
}

void SavedCenters::read(GlobalClass c, std::span<float> row) const {
  const auto file =
      std::ranges::partition_point(files_, [&](const File& each) { return each.shard.end() <= c; });
  const std::int64_t local = file->shard.row(c).v;
  kernels::TableRow saved{.w = row_of(file->centers, local),
                          .states = {row_of(file->momentum, local)}};
  if (file->steps_seen != nullptr) {
    std::int32_t seen = 0;
    std::memcpy(&seen, file->steps_seen->bytes.data() + local * std::int64_t{sizeof seen},
                sizeof seen);
    if (seen < 0 || seen > file->skipped->size()) {
      throw DataError(
          file->content.path().string(), "tensor 'steps_seen'",
          std::to_string(seen) + ", want 0 to " + std::to_string(file->skipped->size()));
    }
    saved.missed = file->skipped->since(seen);
  }
  kernels::read_row(saved, dim_, row.data());
}

}  // namespace pfc
