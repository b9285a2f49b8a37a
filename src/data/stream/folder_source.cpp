#include <algorithm>
#include <optional>
#include <string_view>

#include "data/image_file.h"
#include "data/stream/sources.h"
#include "data/whole_number.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// 7 of "id_7".
std::optional<std::int64_t> identity_in(std::string_view folder) {
  if (!folder.starts_with("id_")) return std::nullopt;
  return whole_number<std::int64_t>(folder.substr(3));
}

/// 12 of "7_12.jpg".
std::optional<std::int64_t> count_in(std::string_view file) {
  const std::size_t begin = file.find('_') + 1;  // 0 where there is none
  return whole_number<std::int64_t>(file.substr(begin, file.rfind('.') - begin));
}

class FolderSource final : public FaceSource {
 public:
  explicit FolderSource(const fs::path& folder)
      : folder_(folder),
        names_(names_in(folder, [](const auto& entry) { return entry.is_directory(); })) {
    numbered_ = std::ranges::all_of(
        names_, [](const std::string& name) { return identity_in(name).has_value(); });
    if (numbered_)
      std::ranges::sort(names_, {}, [](const std::string& name) { return *identity_in(name); });
    if (names_.empty()) {
      throw Error(folder.string() +
                  ": no images, want one folder an identity with .jpg, .jpeg or .png files in it");
    }
  }

  bool next(Face& face) override {
    while (file_ == files_.size()) {
      if (opened_ == names_.size()) return false;
      open_next();
    }
    face.name = names_[opened_ - 1] + "/" + files_[file_++];
    face.identity = identity_;
    face.image = read_image_file(folder_ / face.name, scratch_);
    return true;
  }

  StreamProgress progress() const override {
    const bool within = file_ < files_.size();  // a folder is done with its last file
    return {static_cast<std::int64_t>(opened_) - (within ? 1 : 0),
            static_cast<std::int64_t>(names_.size())};
  }

 private:
  void open_next() {
    const std::string& name = names_[opened_++];
    files_ = names_in(folder_ / name, [](const auto& entry) {
      return is_image_name(entry.path()) && entry.is_regular_file();
    });
    file_ = 0;
    if (numbered_) {
      std::ranges::stable_sort(files_, {},
                               [](const std::string& file) { return count_in(file).value_or(-1); });
    }
    if (files_.empty()) return;  // a folder without an image is no identity
    identity_ = numbered_ ? *identity_in(name) : identity_ + 1;
  }

  fs::path folder_;
  std::vector<std::string> names_;  // of the identities' folders
  bool numbered_ = false;
  std::size_t opened_ = 0;  // folders
  std::int64_t identity_ = -1;
  std::vector<std::string> files_;  // of the one that was opened last
  std::size_t file_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace

std::unique_ptr<FaceSource> open_folder_faces(const fs::path& folder) {
  return std::make_unique<FolderSource>(folder);
}

}  // namespace pfc
