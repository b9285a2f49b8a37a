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
/// read one by one as initial values for others. The files are mapped, so only what is read takes
/// memory; safe from several threads. To resume a run, see load_centers.
class SavedCenters {
 public:
  /// Throws Error if there are none, and DataError if one is missing or malformed.
  explicit SavedCenters(const std::filesystem::path& folder);

  std::int64_t classes() const { return classes_; }
  std::int64_t centers_a_class() const { return centers_a_class_; }
  std::int64_t dim() const { return dim_; }
  /// Whose centres they are; nothing if the files come from a version that did not note it. Throws
  /// DataError if the note is invalid.
  std::optional<ClassIdentities> identities() const;
  /// row [dim]: a centre (ClassShard::of_centers), brought through its missed steps.
  void read(GlobalClass c, std::span<float> row) const;

 private:
  struct File {
    File(const std::filesystem::path& path, int rank, int world);

    SafetensorsFile content;
    ClassShard shard;
    const TensorView* centers;
    // These are set if rows may have missed steps, the momentum only if the optimizer has one.
    const TensorView* momentum = nullptr;
    const TensorView* steps_seen = nullptr;
    std::optional<SkippedSteps> skipped = std::nullopt;
  };

  std::vector<File> files_;  ///< in the order of their classes
  std::int64_t classes_ = 0, centers_a_class_ = 1, dim_ = 0;
};

}  // namespace pfc
