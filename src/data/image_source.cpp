#include "pfc/data/image_source.h"

#include <algorithm>
#include <utility>

#include "data/image_file.h"
#include "data/image_folder.h"
#include "data/record_file.h"
#include "pfc/base/error.h"
#include "pfc/base/paths.h"
#include "pfc/data/dataset.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/verification_set.h"

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
  ImageFiles(fs::path folder, std::vector<std::string> names, std::string passed_over = "")
      : folder_(std::move(folder)),
        names_(std::move(names)),
        passed_over_(std::move(passed_over)) {}

  std::int64_t size() const override { return std::ssize(names_); }
  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    return read_image_file(folder_ / name(index), scratch);
  }
  std::string name(std::int64_t index) const override {
    return names_.at(static_cast<std::size_t>(index));
  }
  std::string passed_over() const override { return passed_over_; }

 private:
  fs::path folder_;
  std::vector<std::string> names_;
  std::string passed_over_;
};

class PairImages final : public ImageSource {
 public:
  explicit PairImages(const VerificationSet& set) : set_(set) {}

  std::int64_t size() const override { return 2 * set_.pairs(); }
  std::span<const std::byte> image(std::int64_t index, std::vector<std::byte>&) const override {
    return set_.image(index);
  }
  std::string name(std::int64_t index) const override { return "image " + std::to_string(index); }
  void face(std::int64_t index, std::vector<std::byte>&, std::uint8_t* pixels) const override {
    set_.face(index, pixels);
  }

 private:
  const VerificationSet& set_;
};

std::unique_ptr<ImageSource> images_below(const fs::path& folder) {
  std::vector<std::string> names;
  PassedOver passed_over;
  walk_images(
      folder,
      [&](const std::string& below, const std::vector<std::string>& images) {
        for (const std::string& image : images)
          names.push_back(below.empty() ? image : below + "/" + image);
      },
      passed_over);
  std::ranges::sort(names);
  return std::make_unique<ImageFiles>(folder, std::move(names), passed_over.text());
}

}  // namespace

void ImageSource::face(std::int64_t index, std::vector<std::byte>& scratch,
                       std::uint8_t* pixels) const {
  decode_image(image(index, scratch), kFaceSize, kFaceSize, pixels);
}

std::unique_ptr<ImageSource> list_images(const fs::path& folder, std::vector<std::string> names) {
  return std::make_unique<ImageFiles>(folder, std::move(names));
}

std::vector<std::string> names_of(const ImageSource& images) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(images.size()));
  for (std::int64_t i = 0; i < images.size(); ++i) names.push_back(images.name(i));
  return names;
}

std::unique_ptr<ImageSource> images_of_pairs(const VerificationSet& set) {
  return std::make_unique<PairImages>(set);
}

std::unique_ptr<ImageSource> open_images(const fs::path& path, const fs::path& cache_dir) {
  try {
    if (fs::is_regular_file(path) && !is_rec(path) && is_image_file(path)) {
      return std::make_unique<ImageFiles>(path.parent_path(),
                                          std::vector{path.filename().string()});
    }
    if (fs::is_directory(path) && !is_there(path / "train.rec")) return images_below(path);
    if (!fs::exists(path)) {
      throw Error(path.string() + ": not found, want a .rec file, an image or a folder of images");
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(error.path1().string() + ": " + error.code().message());
  }
  // Includes images that a training run noted as broken: whoever asks for all images hears of each.
  return std::make_unique<LabelledImages>(open_dataset({.path = path,
                                                        .cache_dir = cache_dir,
                                                        .write_beside_data = false,
                                                        .excluded = std::vector<std::string>()}));
}

}  // namespace pfc
