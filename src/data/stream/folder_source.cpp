#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "data/identity_folder.h"
#include "data/image_file.h"
#include "data/image_folder.h"
#include "data/stream/sources.h"
#include "data/whole_number.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// 12 of "7_12.jpg".
std::optional<std::int64_t> count_in(std::string_view file) {
  const std::size_t begin = file.find('_') + 1;  // 0 where there is none
  return whole_number<std::int64_t>(file.substr(begin, file.rfind('.') - begin));
}

class FolderSource final : public FaceSource {
 public:
  explicit FolderSource(const fs::path& folder) : folder_(folder) {
    walk_people(
        folder,
        [this](const std::string& person, const std::vector<std::string>&) {
          people_.push_back(person);
        },
        passed_over_);
    numbered_ = are_numbered(people_);
    if (numbered_)
      std::ranges::sort(people_, {}, [](const std::string& name) { return *folder_number(name); });
  }

  bool next(Face& face) override {
    while (image_ == images_.size()) {
      if (opened_ == people_.size()) return false;
      open_next();
    }
    face.name = people_[opened_ - 1] + "/" + images_[image_++];
    face.identity = identity_;
    face.image = read_image_file(folder_ / face.name, scratch_);
    return true;
  }

  std::string identity_name(std::int64_t identity) const override {
    if (numbered_) return FaceSource::identity_name(identity);
    return people_.at(static_cast<std::size_t>(identity));
  }

  StreamProgress progress() const override {
    const bool within = image_ < images_.size();  // a folder is finished with its last image
    return {static_cast<std::int64_t>(opened_) - (within ? 1 : 0), std::ssize(people_)};
  }
  std::string passed_over() const override { return passed_over_.text(); }

 private:
  void open_next() {
    const std::string& person = people_[opened_++];
    images_ = names_in(folder_ / person, [](const fs::directory_entry& entry) {
      return entry.is_regular_file() && is_image_file(entry.path());
    });
    image_ = 0;
    if (numbered_) {
      std::ranges::stable_sort(
          images_, {}, [](const std::string& image) { return count_in(image).value_or(-1); });
    }
    identity_ = numbered_ ? *folder_number(person) : identity_ + 1;
  }

  fs::path folder_;
  PassedOver passed_over_;
  std::vector<std::string> people_;  // their folders
  bool numbered_ = false;
  std::size_t opened_ = 0;  // folders
  std::int64_t identity_ = -1;
  std::vector<std::string>
      images_;  // of the folder that was opened last; all names of a set would be too many
  std::size_t image_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace

std::unique_ptr<FaceSource> open_folder_faces(const fs::path& folder) {
  return std::make_unique<FolderSource>(folder);
}

}  // namespace pfc
