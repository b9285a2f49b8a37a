#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pfc {

/// One labelled, encoded image on its way from a set into another.
struct Face {
  std::int64_t identity = 0;
  std::string name = {};                  ///< what a person finds it by: a record's key, a path
  std::span<const std::byte> image = {};  ///< valid until the source's next call
};

/// How far a stream has come, in units of its own.
struct StreamProgress {
  std::int64_t done = 0, total = 1;
};

/// Labelled images, one after another.
class FaceSource {
 public:
  virtual ~FaceSource() = default;
  /// The next one; false after the last. Throws DataError where the bytes are not what they must
  /// be.
  virtual bool next(Face& face) = 0;
  virtual StreamProgress progress() const = 0;
  /// What the data call an identity that came: its number, or its folder's name.
  virtual std::string identity_name(std::int64_t identity) const {
    return std::to_string(identity);
  }
  /// What was passed over, in words; empty where nothing was.
  virtual std::string passed_over() const { return ""; }
};

/// Takes images. Nothing stands under a final name before `commit`; what was begun is removed
/// without it, or gone on with by the next run (`make_folder_sink`).
class FaceSink {
 public:
  virtual ~FaceSink() = default;
  virtual void add(const Face& face) = 0;
  virtual void commit() = 0;
};

/// Opens
/// - a `.rec` or a folder that holds train.rec, in the order of keys, labels as they stand;
/// - a folder with a folder of images for each identity, at whatever depth. Where these are all
///   called `id_NUMBER`, the numbers are the identities and files called `NUMBER_N` come in the
///   order of N; else names are in the order of their bytes and the folders are numbered from 0;
/// - a list (`.lst`, `.txt`, `.csv`, …), in the order of labels: a line `index label path`, as
/// im2rec
///   writes it (more labels between are passed over), `1 path label`, as InsightFace does, or `path
///   label`; paths begin at `root`. Images that are not there are counted first;
/// - a `.tar`, gzipped or not, or a folder of them, in the order of their names: WebDataset shards,
///   a sample being files of one name up to the first dot: an image, and `.cls` with the identity
///   in digits. Other files are counted and passed over. In a folder that has folders, too, a tar
///   is one of the other files.
/// Throws Error where there is none of these, or no image in it.
std::unique_ptr<FaceSource> open_faces(const std::filesystem::path& path,
                                       const std::filesystem::path& root = {});

/// A `.rec` with its `.idx` and `property` (see FaceRecordWriter). All images must have one size,
/// which `property` tells; those whose header does not decode are counted by `on_unreadable`.
std::unique_ptr<FaceSink> make_rec_sink(const std::filesystem::path& rec,
                                        std::function<void(const Face&)> on_unreadable = {});
/// `FOLDER/id_LABEL/LABEL_N.jpg` (.png, .webp, .bmp where it is one), N counting all images from 0.
/// It grows as `FOLDER.partial`, and files that are there already with the same bytes are kept.
/// With `list`, FOLDER/train.lst has a line `N \t label \t path` for each.
std::unique_ptr<FaceSink> make_folder_sink(const std::filesystem::path& folder, bool list = false);
/// WebDataset shards `FOLDER/shard-000000.tar`, …, each of `shard_bytes` of images or a few more.
/// They grow in `FOLDER.partial`, and begin anew with each run.
std::unique_ptr<FaceSink> make_tar_sink(const std::filesystem::path& folder,
                                        std::uint64_t shard_bytes);

}  // namespace pfc
