#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pfc/data/face_stream.h"

namespace pfc {

/// The identity of an image in the new set, or -1 if it is left out.
using Relabel = std::function<std::int64_t(const Face&)>;

/// The images of `source` that `relabel` keeps, under their new identities. Its `passed_over`
/// counts the images that `relabel` leaves out. It does not repeat what `source` passed over; that
/// was reported when the images were counted. `source` must outlive it.
std::unique_ptr<FaceSource> relabelled(FaceSource& source, Relabel relabel);

/// Counts the images of each identity, by its number. Gets every image.
class ImageCounts {
 public:
  void add(std::int64_t identity);
  /// [largest identity + 1]; 0 for an identity without images.
  const std::vector<std::int64_t>& of() const { return counts_; }

 private:
  std::vector<std::int64_t> counts_;
};

/// Two names of one identity. Sets are counted from 1, as in "1,17,2,42".
struct SameIdentity {
  std::int64_t set = 0, identity = 0, other_set = 0, other_identity = 0;
};

/// Names of images, as they are written in lists.
class ImageNames {
 public:
  ImageNames() = default;
  ImageNames(std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) add(name);
  }

  /// Takes a line of a list. The name is the part before a tab; in a line without a tab it is the
  /// part before a comma. With a tab, names may contain commas.
  void add(std::string_view line);
  /// The number of a name, in the order in which names were added, or none if the name is unknown.
  /// A name is found both as it is and as `list_name` writes it.
  std::optional<std::size_t> find(std::string_view name) const;
  std::size_t size() const { return size_; }

 private:
  std::unordered_map<std::string, std::size_t> numbers_;
  std::size_t size_ = 0;
};

struct FaceFilterOptions {
  std::int64_t min_images = 1;  ///< identities with fewer images are dropped
  std::int64_t max_images =
      0;  ///< how many images of each identity are kept, from the first on; 0: all
  ImageNames drop_images = {};  ///< by name: a record's key or a path
  std::unordered_set<std::int64_t> drop_identities = {};
  std::vector<SameIdentity> same = {};  ///< identities to join; both of set 1
};

/// Decides which images of a set are kept. First call `count` for every image, then `finish`, then
/// `relabel` for each image in the same order. The identities that are left are numbered from 0, in
/// order.
class FaceFilter {
 public:
  explicit FaceFilter(FaceFilterOptions options);

  void count(const Face& face);
  /// Throws Error if nothing is left.
  void finish();
  std::int64_t relabel(const Face& face);

  /// [identities left] the former number of each; for joined identities, that of the first.
  const std::vector<std::int64_t>& kept() const { return kept_; }
  /// Entries of the lists for which no image was found, after `count`.
  std::int64_t not_found() const;

 private:
  bool is_dropped(const Face& face) const;

  FaceFilterOptions options_;
  ImageCounts counts_;
  std::unordered_set<std::size_t> images_found_;
  std::unordered_set<std::int64_t> identities_found_;
  std::vector<std::int64_t> numbers_;  // by old identity: the new one, or -1
  std::vector<std::int64_t> kept_;
  std::vector<std::int64_t> taken_;  // by new identity: images so far
};

/// Reads a list of what is dropped, a name a line. Empty lines and lines that begin with # are
/// skipped.
ImageNames parse_names(std::string_view text, const std::string& name);
/// The same for numbers from 0, the first field of each line. Throws DataError with the line.
std::unordered_set<std::int64_t> parse_identities(std::string_view text, const std::string& name);

/// Reads lines "SET,IDENTITY,SET,IDENTITY". Empty lines and lines that begin with # are skipped.
/// Throws DataError with the line.
std::vector<SameIdentity> parse_same(std::string_view text, const std::string& name);

/// Numbers the identities of several sets, given the image counts of each set. A set's identities
/// follow those of the set before it, without gaps. Identities that are the same get one number, at
/// the place of the first. Returns [sets][largest identity + 1], -1 for an identity without images.
/// Throws Error if `same` names an identity that has no images.
std::vector<std::vector<std::int64_t>> join_identities(const std::vector<ImageCounts>& sets,
                                                       std::span<const SameIdentity> same);

}  // namespace pfc
