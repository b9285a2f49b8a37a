#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "pfc/data/dataset.h"

namespace pfc {

std::unique_ptr<Dataset> open_rec_dataset(const std::filesystem::path& rec,
                                          const DatasetOptions& options);
std::unique_ptr<Dataset> open_folder_dataset(const std::filesystem::path& folder,
                                             const DatasetOptions& options);

/// The place of a file that is kept for `source`: beside it, or in `cache_dir` (created if
/// missing). The name in `cache_dir` differs for sets that have the same file name in different
/// folders.
std::filesystem::path kept_beside(const std::filesystem::path& source,
                                  const std::filesystem::path& cache_dir,
                                  std::string_view extension);

/// What remains of a set without the excluded images and without the identities that then have too
/// few.
struct Selection {
  std::vector<bool> kept;            ///< [images found]
  std::vector<std::int32_t> labels;  ///< [images kept] identities renumbered without gaps, in order
  std::int64_t identities = 0;
  ClassIdentities class_identities;  ///< in terms of the `identities` that were passed in
  DatasetSummary summary;
};

/// `identities` [n] of the images found; `excluded` [n], or empty for none. Identities without
/// images are not counted. Throws Error if nothing is left; `source` names the set.
Selection select_images(std::vector<std::int32_t> identities, const std::vector<bool>& excluded,
                        int min_images, const std::filesystem::path& source);

/// Drops the elements that are not kept.
template <class T>
void keep_only(std::vector<T>& values, const std::vector<bool>& kept) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!kept[i]) continue;
    if (count != i) values[count] = std::move(values[i]);
    ++count;
  }
  values.resize(count);
}

}  // namespace pfc
