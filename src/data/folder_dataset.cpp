#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "data/dataset_sources.h"
#include "data/exclusion_list.h"
#include "data/file_stamp.h"
#include "data/identity_folder.h"
#include "data/image_file.h"
#include "data/image_folder.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/list_name.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// Images in files, with a folder for each person.
class FolderDataset final : public Dataset {
 public:
  FolderDataset(const fs::path& folder, const DatasetOptions& options)
      : folder_(folder), exclusions_(kept_beside(folder, options.cache_dir, ".pfcbad"), "folder") {
    if (options.excluded) exclusions_.replace(*options.excluded);
    excluded_ = exclusions_.keys();
    std::vector<std::int32_t> identities;
    std::int32_t identity = 0;
    std::vector<std::string> people;
    PassedOver passed_over;
    walk_people(
        folder,
        [&](const std::string& person, const std::vector<std::string>& images) {
          people.push_back(person);
          for (const std::string& image : images) paths_.push_back(person + "/" + image);
          identities.insert(identities.end(), images.size(), identity++);
        },
        passed_over);
    Selection selection =
        select_images(std::move(identities), excluded(), options.min_images, folder);
    keep_only(paths_, selection.kept);
    labels_ = std::move(selection.labels);
    identities_ = selection.identities;
    name_classes(people);
    summary_ = selection.summary;
    summary_.passed_over = passed_over.text();
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
  /// `people`: all that were found, including those without a class.
  void name_classes(const std::vector<std::string>& people) {
    class_identities_ = {.classes = identities_};
    std::vector<std::string>& names = class_identities_.names;
    for (std::size_t i = 0; i < paths_.size(); ++i)
      if (labels_[i] == std::ssize(names)) names.push_back(fs::path(paths_[i]).parent_path());
    if (!are_numbered(people)) return;
    for (const std::string& name : std::exchange(names, {}))
      class_identities_.numbers.push_back(static_cast<std::int32_t>(*folder_number(name)));
    for (const std::string& name : people)
      class_identities_.below = std::max(class_identities_.below, *folder_number(name) + 1);
  }

  /// As lists and checkpoints, which hold only UTF-8, name it.
  static std::string listed(const std::string& path) { return printable(list_name(path)); }
  /// An image's name in the list: with its stamp, so that a file that was replaced is tried again.
  std::string noted(const std::string& path) const {
    return stamp_of(folder_ / path).text() + " " + listed(path);
  }

  std::vector<bool> excluded() const {
    if (exclusions_.empty()) return {};
    std::unordered_set<std::string> names, paths;
    exclusions_.for_each([&](const std::string& name) {
      names.insert(name);
      paths.insert(name.substr(name.find(' ', name.find(' ') + 1) + 1));
    });
    std::vector<bool> result;
    for (const std::string& path : paths_)
      result.push_back(paths.contains(listed(path)) && names.contains(noted(path)));
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
