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

/// Where a file that is kept for `source` goes: beside it, or into `cache_dir` (made where
/// missing), there with a name that sets of one file name in different folders do not share.
std::filesystem::path kept_beside(const std::filesystem::path& source,
                                  const std::filesystem::path& cache_dir,
                                  std::string_view extension);

/// What is left of a set without the excluded images and the identities that then have too few.
struct Selection {
  std::vector<bool> kept;            ///< [images found]
  std::vector<std::int32_t> labels;  ///< [images kept] identities renumbered without gaps, in order
  std::int64_t identities = 0;
  ClassIdentities class_identities;  ///< in the numbers of the `identities` selected from
  DatasetSummary summary;
};

/// `identities` [n] of the images found; `excluded` [n], or empty for none. An identity without an
/// image counts nowhere. Throws Error where nothing is left; `source` names the set.
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
