#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <tuple>

#include "data/image_file.h"
#include "data/stream/sources.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

std::optional<std::int64_t> number_in(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size() && !text.empty();
  return whole && value >= 0 ? std::optional(value) : std::nullopt;
}

/// 7 of "id_7".
std::optional<std::int64_t> identity_in(std::string_view folder) {
  if (!folder.starts_with("id_")) return std::nullopt;
  return number_in(folder.substr(3));
}

/// 12 of "7_12.jpg".
std::optional<std::int64_t> count_in(std::string_view file) {
  const std::size_t begin = file.find('_') + 1;  // 0 where there is none
  return number_in(file.substr(begin, file.rfind('.') - begin));
}

class FolderSource final : public FaceSource {
 public:
  explicit FolderSource(const fs::path& folder) : folder_(folder) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (is_hidden(entry.path()) || !entry.is_directory()) continue;
      names_.push_back(entry.path().filename().string());
    }
    numbered_ = std::ranges::all_of(
        names_, [](const std::string& name) { return identity_in(name).has_value(); });
    if (numbered_) {
      std::ranges::sort(names_, {}, [](const std::string& name) { return *identity_in(name); });
    } else {
      std::ranges::sort(names_);
    }
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
    return {static_cast<std::int64_t>(opened_), static_cast<std::int64_t>(names_.size())};
  }

 private:
  void open_next() {
    const std::string& name = names_[opened_++];
    files_.clear();
    file_ = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_ / name)) {
      if (!is_hidden(entry.path()) && is_image_name(entry.path()) && entry.is_regular_file())
        files_.push_back(entry.path().filename().string());
    }
    std::ranges::sort(files_, {}, [this](const std::string& file) {
      return std::tuple(numbered_ ? count_in(file).value_or(-1) : 0, file);
    });
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
