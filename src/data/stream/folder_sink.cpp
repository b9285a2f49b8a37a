#include <algorithm>
#include <optional>

#include "data/buffered_file.h"
#include "data/image_file.h"
#include "data/partial_folder.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/face_stream.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

class FolderSink final : public FaceSink {
 public:
  FolderSink(const fs::path& folder, bool list) : folder_(folder) {
    if (list) list_.emplace(folder_.path() / "train.lst");
  }

  void add(const Face& face) override {
    const std::string label = std::to_string(face.identity);
    const std::string number = std::to_string(count_++);
    std::string path = "id_" + label;
    if (face.identity != last_) make_folder(folder_.path() / path);
    last_ = face.identity;
    path += "/" + label + "_" + number + std::string(ending_of(face.image));
    write(folder_.path() / path, face.image);
    if (!list_) return;
    list_->write(number + "\t" + label + "\t" + path + "\n");
  }

  void commit() override {
    if (count_ == 0) throw Error(folder_.path().string() + ": no images were added");
    if (list_) list_->commit();
    folder_.commit();
  }

 private:
  static void make_folder(const fs::path& path) {
    std::error_code error;
    fs::create_directory(path, error);
    if (error) throw Error(path.string() + ": cannot make the folder: " + error.message());
  }

  void write(const fs::path& path, std::span<const std::byte> image) {
    std::error_code error;
    if (fs::file_size(path, error) == image.size() && !error &&
        std::ranges::equal(read_image_file(path, scratch_), image)) {
      return;  // an earlier run wrote it
    }
    write_in_place(path, image);
  }

  PartialFolder folder_;
  std::optional<BufferedFile> list_;
  std::int64_t count_ = 0, last_ = -1;
  std::vector<std::byte> scratch_;
};

}  // namespace

std::unique_ptr<FaceSink> make_folder_sink(const fs::path& folder, bool list) {
  return std::make_unique<FolderSink>(folder, list);
}

}  // namespace pfc
