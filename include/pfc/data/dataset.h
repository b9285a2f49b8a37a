#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pfc/plan/class_identities.h"

namespace pfc {

/// What was left out of a set when it was opened. It is printed at the start of the log.
struct DatasetSummary {
  std::int64_t images_found = 0;
  std::int64_t identities_found = 0;
  std::int64_t identities_dropped = 0;  ///< had fewer than `min_images` images
  std::int64_t images_dropped = 0;      ///< images of those identities
  std::int64_t images_excluded = 0;     ///< did not decode in an earlier run
  std::string passed_over = {};  ///< what a folder reader skipped, in words; empty if nothing
};

/// Labelled, encoded face images. Reading is safe from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }
  std::int64_t identities() const { return identities_; }
  /// [size()] values in [0, identities()). Every identity has at least one image.
  std::span<const std::int32_t> labels() const { return labels_; }
  /// The name that the data give to each class.
  const ClassIdentities& class_identities() const { return class_identities_; }
  const DatasetSummary& summary() const { return summary_; }

  /// The encoded bytes of an image: in place if possible, otherwise copied into `scratch`. Throws
  /// DataError if the bytes are not there, IoError if they cannot be read.
  virtual std::span<const std::byte> image(std::int64_t index,
                                           std::vector<std::byte>& scratch) const = 0;
  /// A hint: these consecutive images will be read soon.
  virtual void will_need(std::int64_t /*first*/, std::int64_t /*count*/) const {}
  /// By what a person can find the image: a record's key or a file's path.
  virtual std::string key(std::int64_t index) const = 0;
  /// Notes an image that does not decode, so that later starts leave it out. Safe from several
  /// threads.
  virtual void exclude(std::int64_t index, const std::string& reason) = 0;
  /// What was left out when the set was opened, in the form that DatasetOptions::excluded takes.
  const std::vector<std::string>& excluded() const { return excluded_; }

 protected:
  std::vector<std::int32_t> labels_;
  std::int64_t identities_ = 0;
  ClassIdentities class_identities_;
  DatasetSummary summary_;
  std::vector<std::string> excluded_;
};

struct DatasetOptions {
  /// A `.rec`, a folder that holds train.rec, or a folder with one folder for each identity.
  std::filesystem::path path = {};
  /// Where the index cache is written. Empty: beside the data.
  std::filesystem::path cache_dir = {};
  /// Whether the cache is written beside the data if there is no cache_dir. A command that only
  /// looks at a set leaves its folder as it is.
  bool write_beside_data = true;
  int min_images = 1;  ///< identities with fewer images are dropped; the others are renumbered
  /// Orders the images of a `.rec` by their place in the file and not by their keys, so that the
  /// file is read in large pieces.
  bool file_order = false;
  /// Images to leave out, in place of those that earlier runs noted: a resumed run must see the set
  /// as it was at the run's start.
  std::optional<std::vector<std::string>> excluded = {};
};

/// Opens a set.
///
/// A `.rec` (see record_io.h) is indexed through its `.idx`. Without one it is scanned: the keys
/// are the ids in the image headers if these are all different, otherwise images are counted in
/// file order. The index is cached in `<name>.pfcidx`, which is valid only for files of the same
/// sizes and times; if the folder is read-only and there is no `cache_dir`, nothing is cached.
/// Images come in the order of their keys. Labels keep their order but lose their gaps. A
/// `property` file beside the `.rec` must agree with it.
///
/// In a folder, each folder that holds images, at any depth, is an identity. Names are sorted by
/// their bytes. Hidden files and files that are not images are skipped, and the summary says so.
///
/// Images passed to `exclude` are kept in `<name>.pfcbad`. Until the data change they are left out,
/// before `min_images` is applied.
///
/// Throws Error or DataError, with the place, if the set cannot be read or is not consistent.
std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options);

}  // namespace pfc
