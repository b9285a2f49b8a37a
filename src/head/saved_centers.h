#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "head/skipped_steps.h"
#include "pfc/formats/safetensors.h"
#include "pfc/plan/class_identities.h"
#include "pfc/plan/class_shard.h"

namespace pfc {

/// The class centres in a folder of `centers-….safetensors`, a checkpoint's or a converted one's,
/// one by one, as a start for others. Mapped, so that only what is read costs memory; safe from
/// several threads. For a run that goes on, see load_centers.
class SavedCenters {
 public:
  /// Throws Error where there are none, and DataError where one is missing or malformed.
  explicit SavedCenters(const std::filesystem::path& folder);

  std::int64_t classes() const { return classes_; }
  std::int64_t dim() const { return dim_; }
  /// Whose centres they are; nothing where the files are of a version that did not say it. Throws
  /// DataError where they say it wrongly.
  std::optional<ClassIdentities> identities() const;
  /// row [dim]: the centre of a class, brought through the steps it missed.
  void read(GlobalClass c, std::span<float> row) const;

 private:
  struct File {
    File(const std::filesystem::path& path, int rank, int world);

    SafetensorsFile content;
    ClassShard shard;
    const TensorView* centers;
    const TensorView* momentum = nullptr;  ///< these three where rows may have missed steps
    const TensorView* steps_seen = nullptr;
    std::optional<SkippedSteps> skipped = std::nullopt;
  };

  std::vector<File> files_;  ///< in the order of their classes
  std::int64_t classes_ = 0, dim_ = 0;
};

}  // namespace pfc
