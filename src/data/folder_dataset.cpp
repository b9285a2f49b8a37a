#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "data/dataset_sources.h"
#include "data/exclusion_list.h"
#include "data/file_stamp.h"
#include "data/image_file.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// Images directly within the folders of a folder. Other files count nowhere, nor do hidden ones
/// (`._a.jpg` of a Mac is no image), nor a folder without an image.
class FolderDataset final : public Dataset {
 public:
  FolderDataset(const fs::path& folder, const DatasetOptions& options)
      : folder_(folder), exclusions_(kept_beside(folder, options.cache_dir, ".pfcbad"), "folder") {
    if (options.excluded) exclusions_.replace(*options.excluded);
    excluded_ = exclusions_.keys();
    std::vector<std::int32_t> identities;
    std::int32_t identity = 0;
    for (const std::string& name :
         names_in(folder, [](const auto& entry) { return entry.is_directory(); })) {
      const auto images = names_in(folder / name, [](const auto& entry) {
        return is_image_name(entry.path()) && entry.is_regular_file();
      });
      for (const std::string& image : images) paths_.push_back(name + "/" + image);
      identities.insert(identities.end(), images.size(), identity);
      if (!images.empty()) ++identity;
    }
    if (paths_.empty()) {
      throw Error(folder.string() +
                  ": no images, want one folder an identity with .jpg, .jpeg or .png files in it");
    }
    Selection selection =
        select_images(std::move(identities), excluded(), options.min_images, folder);
    keep_only(paths_, selection.kept);
    labels_ = std::move(selection.labels);
    identities_ = selection.identities;
    summary_ = selection.summary;
  }

  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    return read_image_file(folder_ / key(index), scratch);
  }

  std::string key(std::int64_t index) const override {
    return paths_.at(static_cast<std::size_t>(index));
  }

  void exclude(std::int64_t index, const std::string& reason) override {
    exclusions_.add(noted(key(index)), reason);
  }

 private:
  /// How an image is named in the list: with its stamp, so that one replaced since is tried again.
  std::string noted(const std::string& path) const {
    return stamp_of(folder_ / path).text() + " " + path;
  }

  std::vector<bool> excluded() const {
    if (exclusions_.empty()) return {};
    std::unordered_set<std::string> paths;
    exclusions_.for_each([&](const std::string& name) {
      const std::string path = name.substr(name.find(' ', name.find(' ') + 1) + 1);
      if (noted(path) == name) paths.insert(path);
    });
    std::vector<bool> result;
    for (const std::string& path : paths_) result.push_back(paths.contains(path));
    return result;
  }

  fs::path folder_;
  ExclusionList exclusions_;
  std::vector<std::string> paths_;  // below the folder
};

}  // namespace

std::unique_ptr<Dataset> open_folder_dataset(const fs::path& folder,
                                             const DatasetOptions& options) {
  return std::make_unique<FolderDataset>(folder, options);
}

}  // namespace pfc
