#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pfc/data/image_codec.h"  // for kFaceSize
#include "pfc/data/record_io.h"

namespace pfc {

/// Labels are float32, which holds every whole number up to 2^24.
inline constexpr std::int32_t kLargestLabel = 1 << 24;
/// The `id2` of key 0 in a set with more identities than that. In such a set a label of 2^24 or
/// above is rounded, and the image's `id2` is the identity (if it is 0, the label is).
inline constexpr std::uint64_t kExactLabels = 0x4C4542414C434650;  // "PFCLABEL"

std::filesystem::path idx_path_of(const std::filesystem::path& rec);
std::filesystem::path property_path_of(const std::filesystem::path& rec);

/// All records of a `.rec`, images and others: 16 bytes for each record, in arrays that a
/// RecordIndex takes over without a copy.
struct RecordList {
  std::vector<std::uint64_t> offsets;    ///< [n]
  std::vector<std::uint32_t> keys;       ///< [n]
  std::vector<std::int32_t> identities;  ///< [n] the labels; empty until the `.rec` is read

  std::size_t size() const { return offsets.size(); }
  void add(std::uint32_t key, std::uint64_t offset) {
    keys.push_back(key);
    offsets.push_back(offset);
  }
  void sort_by_offset();
  void sort_by_key();
};

/// The places of all images of a `.rec`, in ascending order of their keys: 12 or 16 bytes for each
/// image.
struct RecordIndex {
  std::vector<std::uint64_t> offsets;    ///< [n]
  std::vector<std::int32_t> identities;  ///< [n] the label of each image
  std::vector<std::uint32_t> keys;  ///< [n], or empty if they are first_key, first_key + 1, …
  std::uint32_t first_key = 0;
  std::int64_t declared_identities = 0;  ///< by the file's identity records; 0 if it has none

  std::size_t size() const { return offsets.size(); }
  std::uint32_t key(std::size_t i) const {
    return keys.empty() ? first_key + static_cast<std::uint32_t>(i) : keys[i];
  }
  /// Position of the image with this key.
  std::optional<std::size_t> find(std::uint32_t key) const;
};

/// A line of a `.idx` file.
std::string idx_line(std::uint64_t key, std::uint64_t offset);

/// The lines of a `.idx` file, exactly "key\toffset\n" each. Throws DataError with the line.
RecordList parse_idx(std::span<const std::byte> text, const std::string& name);
RecordList read_idx(const std::filesystem::path& idx);

/// Visits the listed records in file order and finds the layout.
///
/// If key 0 holds a range, the file is in the face layout and every key is checked: images 1…N,
/// then identity records, which must agree with key 0 and with the images' labels. Counts and
/// ranges are compared as the float32 values in which they are stored. A range that ends at 2^24 or
/// above is not exact, so there only the images' own labels count. Some tools write key 0 but no
/// identity records; then the second value of key 0 means something else and is ignored.
///
/// Any other file is a plain one: every key is an image. Throws DataError if the two files disagree
/// or a record is invalid.
RecordIndex index_records(const RecordReader& rec, RecordList listed, const std::string& idx_name);

/// The same for a file without `.idx`, by a scan of the whole file. The `.rec` does not hold the
/// records' keys, but all common writers put the key into the image header as `id`. If the ids are
/// all different, they are the keys. Otherwise records are counted in file order from 0, as MXNet's
/// own rec2idx does.
RecordIndex index_records(const RecordReader& rec);

/// The number of identities in a `property` file ("C,112,112"). Throws DataError.
std::int64_t parse_property(std::string_view text, const std::string& name);

/// Throws DataError if the number of identities in `property` cannot be that of the indexed file.
void check_property(const RecordIndex& index, std::int64_t identities,
                    const std::string& property_name);

}  // namespace pfc
