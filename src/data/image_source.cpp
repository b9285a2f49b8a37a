#include "pfc/data/image_source.h"

#include <algorithm>
#include <utility>

#include "data/image_file.h"
#include "pfc/base/error.h"
#include "pfc/base/paths.h"
#include "pfc/data/dataset.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

class LabelledImages final : public ImageSource {
 public:
  explicit LabelledImages(std::unique_ptr<Dataset> dataset) : dataset_(std::move(dataset)) {}

  std::int64_t size() const override { return dataset_->size(); }
  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    return dataset_->image(index, scratch);
  }
  std::string name(std::int64_t index) const override {
    const std::int32_t label = dataset_->labels()[static_cast<std::size_t>(index)];
    return std::to_string(label) + "/" + dataset_->key(index);
  }

 private:
  std::unique_ptr<Dataset> dataset_;
};

class ImageFiles final : public ImageSource {
 public:
  /// `names` are paths below `folder`.
  ImageFiles(fs::path folder, std::vector<std::string> names)
      : folder_(std::move(folder)), names_(std::move(names)) {}

  std::int64_t size() const override { return std::ssize(names_); }
  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    return read_image_file(folder_ / name(index), scratch);
  }
  std::string name(std::int64_t index) const override {
    return names_.at(static_cast<std::size_t>(index));
  }

 private:
  fs::path folder_;
  std::vector<std::string> names_;
};

std::vector<std::string> images_below(const fs::path& folder) {
  std::vector<std::string> names;
  fs::recursive_directory_iterator entries(folder);
  for (const fs::directory_entry& entry : entries) {
    if (is_hidden(entry.path())) {
      if (entry.is_directory()) entries.disable_recursion_pending();
    } else if (is_image_name(entry.path()) && entry.is_regular_file()) {
      names.push_back(entry.path().lexically_relative(folder).string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

void ImageSource::face(std::int64_t index, std::vector<std::byte>& scratch,
                       std::uint8_t* pixels) const {
  decode_image(image(index, scratch), kFaceSize, kFaceSize, pixels);
}

std::unique_ptr<ImageSource> list_images(const fs::path& folder, std::vector<std::string> names) {
  return std::make_unique<ImageFiles>(folder, std::move(names));
}

std::unique_ptr<ImageSource> open_images(const fs::path& path, const fs::path& cache_dir) {
  try {
    if (fs::is_regular_file(path) && is_image_name(path)) {
      return std::make_unique<ImageFiles>(path.parent_path(),
                                          std::vector{path.filename().string()});
    }
    if (fs::is_directory(path) && !is_there(path / "train.rec")) {
      std::vector<std::string> names = images_below(path);
      if (names.empty()) throw Error(path.string() + ": holds no .jpg, .jpeg or .png");
      return std::make_unique<ImageFiles>(path, std::move(names));
    }
    if (!fs::exists(path)) {
      throw Error(path.string() + ": not found, want a .rec file, an image or a folder of images");
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(error.path1().string() + ": " + error.code().message());
  }
  return std::make_unique<LabelledImages>(
      open_dataset({.path = path, .cache_dir = cache_dir, .write_beside_data = false}));
}

}  // namespace pfc
