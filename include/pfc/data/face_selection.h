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

/// The identity that an image has in the new set, or -1 where it has no place there.
using Relabel = std::function<std::int64_t(const Face&)>;

/// The images of `source` that `relabel` wants, under their new identities; the others are what it
/// passes over, not what `source` does, which was told when it was counted. `source` must outlive
/// it.
std::unique_ptr<FaceSource> relabelled(FaceSource& source, Relabel relabel);

/// Images of each identity, by its number; told of each image.
class ImageCounts {
 public:
  void add(std::int64_t identity);
  /// [largest identity + 1]; 0 where an identity has none.
  const std::vector<std::int64_t>& of() const { return counts_; }

 private:
  std::vector<std::int64_t> counts_;
};

/// Two names of one identity: sets are counted from 1, as in "1,17,2,42".
struct SameIdentity {
  std::int64_t set = 0, identity = 0, other_set = 0, other_identity = 0;
};

/// Names of images, as lists hold them.
class ImageNames {
 public:
  ImageNames() = default;
  ImageNames(std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) add(name);
  }

  /// A line of a list: the name is what stands before a tab, or before a comma in a line without a
  /// tab, where names may have commas in them, too.
  void add(std::string_view line);
  /// The number of the name, in the order in which they were added; none where it is not among
  /// them. Names are found as they are and as `list_name` writes them.
  std::optional<std::size_t> find(std::string_view name) const;
  std::size_t size() const { return size_; }

 private:
  std::unordered_map<std::string, std::size_t> numbers_;
  std::size_t size_ = 0;
};

struct FaceFilterOptions {
  std::int64_t min_images = 1;  ///< identities with fewer are dropped
  std::int64_t max_images = 0;  ///< the first so many of each are kept; 0: all
  ImageNames drop_images = {};  ///< by name: a record's key, a path
  std::unordered_set<std::int64_t> drop_identities = {};
  std::vector<SameIdentity> same = {};  ///< become one; both of set 1
};

/// Which images of a set are kept. First `count` every image, then `finish`; then `relabel` each in
/// the same order. Identities that are left are numbered from 0, in order.
class FaceFilter {
 public:
  explicit FaceFilter(FaceFilterOptions options);

  void count(const Face& face);
  /// Throws Error where nothing is left.
  void finish();
  std::int64_t relabel(const Face& face);

  /// [identities left] what each was called before, the first of those that became one.
  const std::vector<std::int64_t>& kept() const { return kept_; }
  /// Entries of the lists that no image was found for, after `count`.
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

/// The lines of a list of what is dropped; those that are empty or begin with # count nowhere.
ImageNames parse_names(std::string_view text, const std::string& name);
/// The same, numbers from 0, the first field of each line. Throws DataError with the line.
std::unordered_set<std::int64_t> parse_identities(std::string_view text, const std::string& name);

/// Lines "SET,IDENTITY,SET,IDENTITY"; lines that are empty or begin with # count nowhere. Throws
/// DataError with the line.
std::vector<SameIdentity> parse_same(std::string_view text, const std::string& name);

/// Numbers the identities of several sets, given the images of each: those of a set after those of
/// the sets before, without gaps, and identities that are the same once, where the first of them
/// is. [sets][largest identity + 1], -1 where an identity has no images. Throws Error where `same`
/// names an identity that has none.
std::vector<std::vector<std::int64_t>> join_identities(const std::vector<ImageCounts>& sets,
                                                       std::span<const SameIdentity> same);

}  // namespace pfc
