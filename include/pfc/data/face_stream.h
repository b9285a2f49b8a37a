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

/// One labelled, encoded image on its way from one set into another.
struct Face {
  std::int64_t identity = 0;
  std::string name = {};                  ///< by what a person finds it: a record's key or a path
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
  /// The next image; false after the last. Throws DataError if the bytes are wrong.
  virtual bool next(Face& face) = 0;
  virtual StreamProgress progress() const = 0;
  /// What the data call an identity: its number or its folder's name.
  virtual std::string identity_name(std::int64_t identity) const {
    return std::to_string(identity);
  }
  /// What was skipped, in words; empty if nothing was.
  virtual std::string passed_over() const { return ""; }
};

/// Takes images. Nothing appears under its final name before `commit`. Without `commit` unfinished
/// output is removed, or the next run continues it (`make_folder_sink`).
class FaceSink {
 public:
  virtual ~FaceSink() = default;
  virtual void add(const Face& face) = 0;
  virtual void commit() = 0;
};

/// Opens one of these:
/// - a `.rec` or a folder that holds train.rec, in the order of keys, with labels as they are;
/// - a folder with one folder of images for each identity, at any depth. If all of these are named
///   `id_NUMBER`, the numbers are the identities, and files named `NUMBER_N` come in the order of
///   N. Otherwise names are sorted by their bytes and the folders are numbered from 0;
/// - a list (`.lst`, `.txt`, `.csv`, …), in the order of labels. A line is `index label path` as
///   im2rec writes it (more labels in between are skipped), `1 path label` as InsightFace writes
///   it, or `path label`. Paths begin at `root`. Missing images are counted before the first is
///   read;
/// - a `.tar`, gzipped or not, or a folder of them in the order of their names: WebDataset shards.
///   A sample consists of the files that share a name up to the first dot: an image, and `.cls`
///   with the identity in digits. Other files are counted and skipped. In a folder that also holds
///   folders, a tar counts as one of the other files.
///
/// Throws Error if it is none of these, or if there is no image in it.
std::unique_ptr<FaceSource> open_faces(const std::filesystem::path& path,
                                       const std::filesystem::path& root = {});

/// A `.rec` with its `.idx` and `property` (see FaceRecordWriter). All images must have one size,
/// which `property` states. `on_unreadable` gets the images whose header does not decode.
std::unique_ptr<FaceSink> make_rec_sink(const std::filesystem::path& rec,
                                        std::function<void(const Face&)> on_unreadable = {});
/// `FOLDER/id_LABEL/LABEL_N.jpg` (or .png, .webp, .bmp, by the image's format); N counts all images
/// from 0. The folder grows as `FOLDER.partial`; existing files with the same bytes are kept. With
/// `list`, FOLDER/train.lst gets a line `N \t label \t path` for each image.
std::unique_ptr<FaceSink> make_folder_sink(const std::filesystem::path& folder, bool list = false);
/// WebDataset shards `FOLDER/shard-000000.tar`, …, each with `shard_bytes` of images or slightly
/// more. They grow in `FOLDER.partial`; each run begins them anew.
std::unique_ptr<FaceSink> make_tar_sink(const std::filesystem::path& folder,
                                        std::uint64_t shard_bytes);

}  // namespace pfc
