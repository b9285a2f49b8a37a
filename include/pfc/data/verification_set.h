#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/base/files.h"

namespace pfc {

/// Pairs of encoded face images, and whether each pair shows one person: the files `lfw.bin`,
/// `cfp_fp.bin`, `agedb_30.bin`, …, which are Python pickles of `(bins, issame_list)`.
///
/// They are read without Python, by a reader that knows only such sets: pickle protocols 0 to 5.
/// Images are `bytes`, `str` of Python 2, `bytearray` or numpy uint8 arrays, in a list or in a
/// numpy array of objects. Flags are bools or numbers (1 one person, 0 or -1 two people), in a list
/// or any numpy array. Everything else in the file is refused by name, and nothing in it is run.
/// Memory is bounded by the size of the file. Images stay in the mapped file if they lie there in
/// one piece; only protocols 0 to 2 of Python 3 encode them differently.
class VerificationSet {
 public:
  /// Throws Error if the file cannot be read, DataError if it is not such a set.
  static VerificationSet open(const std::filesystem::path& path);
  /// The same from memory that outlives the set; `name` stands for the file in errors.
  static VerificationSet parse(const std::string& name, std::span<const std::byte> bytes);

  /// The file's name without folder and ending: `lfw`.
  const std::string& name() const { return name_; }
  /// P, at least 1.
  std::int64_t pairs() const { return static_cast<std::int64_t>(same_.size()); }
  /// Encoded image i of 2·P; pair p is images 2·p and 2·p + 1.
  std::span<const std::byte> image(std::int64_t i) const {
    return images_[static_cast<std::size_t>(i)];
  }
  /// Writes image i into `pixels` [112, 112, 3] as InsightFace gives it to a network: a square
  /// image of another size is resized (bicubic). Throws Error if it does not decode or is not
  /// square.
  void face(std::int64_t i, std::uint8_t* pixels) const;
  /// Whether pair p shows one person.
  bool same(std::int64_t p) const { return same_[static_cast<std::size_t>(p)] != 0; }

 private:
  VerificationSet(std::string_view file, std::string name, std::span<const std::byte> bytes);

  std::optional<MappedFile> mapped_;
  std::string name_;
  /// Images that do not lie in the file in one piece.
  std::vector<std::vector<std::byte>> decoded_;
  std::vector<std::span<const std::byte>> images_;
  std::vector<std::uint8_t> same_;
};

/// Writes such a set, as VerificationSet and InsightFace's tools read it: a pickle of protocol 3
/// with images as `bytes`. Needs the memory of a few images. Nothing appears under the final name
/// before `commit`. Every failure throws Error.
class VerificationSetWriter {
 public:
  explicit VerificationSetWriter(const std::filesystem::path& path);
  ~VerificationSetWriter();
  VerificationSetWriter(const VerificationSetWriter&) = delete;
  VerificationSetWriter& operator=(const VerificationSetWriter&) = delete;

  /// Adds the next pair: two encoded images, each shorter than 4 GiB, and whether they show one
  /// person. The verification protocol's ten folds are tenths of the file, so each tenth should
  /// have its share of pairs of both kinds.
  void add(std::span<const std::byte> first, std::span<const std::byte> second, bool same);
  /// At least one pair must have been added.
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
