#include "pfc/data/face_stream.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "data/image_file.h"
#include "data/record_file.h"
#include "data/stream/sources.h"
#include "data/tar_reader.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/files.h"
#include "pfc/base/paths.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// A list of images: a `.lst`, or another text file.
bool is_list_name(const fs::path& path) {
  constexpr std::array<std::string_view, 5> kEndings = {".lst", ".txt", ".list", ".csv", ".tsv"};
  return std::ranges::count(kEndings, path.extension().string()) > 0;
}

}  // namespace

std::unique_ptr<FaceSource> open_faces(const fs::path& path, const fs::path& root) {
  try {
    if (fs::is_directory(path)) {
      if (is_there(path / "train.rec")) return open_rec_faces(path / "train.rec");
      std::vector<fs::path> shards = shards_in(path);
      return shards.empty() ? open_folder_faces(path) : open_tar_faces(std::move(shards));
    }
    if (fs::is_regular_file(path)) {
      if (is_list_name(path)) return open_lst_faces(path, root);
      if (is_tar_name(path)) return open_tar_faces({path});
      if (is_rec(path)) return open_rec_faces(path);
      refuse_kind(path.string(), MappedFile(path).bytes(),
                  "a .rec, a .tar, a .lst or another list of images (.txt, .csv)");
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(error.path1().string() + ": " + error.code().message());
  }
  throw Error(path.string() +
              ": not found, want a .rec, a .lst, a .tar, a folder of .tar or of one folder an "
              "identity");
}

}  // namespace pfc
