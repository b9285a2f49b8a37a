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

/// What was left out of a set when it was opened, for the start of the log.
struct DatasetSummary {
  std::int64_t images_found = 0;
  std::int64_t identities_found = 0;
  std::int64_t identities_dropped = 0;  ///< had fewer than `min_images` images
  std::int64_t images_dropped = 0;      ///< of those identities
  std::int64_t images_excluded = 0;     ///< did not decode in an earlier run
  std::string passed_over = {};         ///< of a folder, in words; empty where nothing was
};

/// Labelled, encoded face images. Reading is safe from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  std::int64_t size() const { return static_cast<std::int64_t>(labels_.size()); }
  std::int64_t identities() const { return identities_; }
  /// [size()] values in [0, identities()), every identity present.
  std::span<const std::int32_t> labels() const { return labels_; }
  /// What the data call each class.
  const ClassIdentities& class_identities() const { return class_identities_; }
  const DatasetSummary& summary() const { return summary_; }

  /// The encoded bytes of an image, in place where they can be, else in `scratch`.
  /// Throws DataError where the bytes are not there, IoError where they cannot be read.
  virtual std::span<const std::byte> image(std::int64_t index,
                                           std::vector<std::byte>& scratch) const = 0;
  /// A hint: these consecutive images will be read soon.
  virtual void will_need(std::int64_t /*first*/, std::int64_t /*count*/) const {}
  /// What a person can find the image by: a record's key, a file's path.
  virtual std::string key(std::int64_t index) const = 0;
  /// Notes an image that does not decode, so that later starts leave it out. Safe from several
  /// threads.
  virtual void exclude(std::int64_t index, const std::string& reason) = 0;
  /// What was left out when the set was opened, as DatasetOptions::excluded takes it.
  const std::vector<std::string>& excluded() const { return excluded_; }

 protected:
  std::vector<std::int32_t> labels_;
  std::int64_t identities_ = 0;
  ClassIdentities class_identities_;
  DatasetSummary summary_;
  std::vector<std::string> excluded_;
};

struct DatasetOptions {
  /// A `.rec`, a folder that holds train.rec, or a folder of one folder an identity.
  std::filesystem::path path = {};
  /// Where the index cache is written; empty: beside the data.
  std::filesystem::path cache_dir = {};
  /// Whether it is written beside the data, where no cache_dir is named: who only looks at a set
  /// leaves its folder as it is.
  bool write_beside_data = true;
  int min_images = 1;  ///< identities with fewer images are dropped and the others renumbered
  /// The images of a `.rec` come in the order in which they lie in the file, not in that of their
  /// keys: for reading it in large pieces.
  bool file_order = false;
  /// Images to leave out instead of those that earlier runs noted: a run that is taken up again
  /// must see the set as it saw it at its start.
  std::optional<std::vector<std::string>> excluded = {};
};

/// Opens a set.
///
/// A `.rec` (see record_io.h) is indexed through its `.idx`, or by a scan where there is none: keys
/// are then the ids in the image headers where these all differ, else counted in file order. What
/// was found is cached in `<name>.pfcidx`, bound to sizes and times of both files; where the folder
/// is read-only and no `cache_dir` is named, nothing is kept. Images come in the order of their
/// keys. Labels keep their order but lose their gaps; a `property` file beside the
/// `.rec` must agree with it. In a folder each folder that holds images, at whatever depth, is an
/// identity; names are sorted by their bytes, and what is hidden or no image is passed over, which
/// the summary tells. Images passed to `exclude` are kept in
/// `<name>.pfcbad` and left out, before `min_images` is applied, until the data changes.
///
/// Throws Error or DataError, with the place, where the set cannot be read or is not consistent.
std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options);

}  // namespace pfc
