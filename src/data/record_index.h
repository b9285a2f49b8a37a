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
/// The `id2` of key 0 in a set with more identities than that: there a label of 2^24 or above is
/// rounded, and the image's `id2` is the identity (where it is not 0, which stands for the label).
inline constexpr std::uint64_t kExactLabels = 0x4C4542414C434650;  // "PFCLABEL"

std::filesystem::path idx_path_of(const std::filesystem::path& rec);
std::filesystem::path property_path_of(const std::filesystem::path& rec);

/// All records of a `.rec`, images and others: 16 bytes a record, in arrays that a RecordIndex
/// takes over as they are.
struct RecordList {
  std::vector<std::uint64_t> offsets;    ///< [n]
  std::vector<std::uint32_t> keys;       ///< [n]
  std::vector<std::int32_t> identities;  ///< [n] the labels, or empty while the `.rec` is unread

  std::size_t size() const { return offsets.size(); }
  void add(std::uint32_t key, std::uint64_t offset) {
    keys.push_back(key);
    offsets.push_back(offset);
  }
  void sort_by_offset();
  void sort_by_key();
};

/// Where the images of a `.rec` are, in ascending order of their keys: the whole file's view, 12 or
/// 16 bytes an image.
struct RecordIndex {
  std::vector<std::uint64_t> offsets;    ///< [n]
  std::vector<std::int32_t> identities;  ///< [n] the label of each image
  std::vector<std::uint32_t> keys;  ///< [n], or empty where they are first_key, first_key + 1, …
  std::uint32_t first_key = 0;
  std::int64_t declared_identities = 0;  ///< by the file's identity records; 0 where it has none

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

/// Visits the listed records in file order and finds the layout. Where key 0 holds a range, the
/// file is in the face layout and every key is checked: images 1…N, then identity records, which
/// agree with key 0 and with the images' labels. Counts and ranges are compared as the float32
/// values that they are stored as, and a range that ends at 2^24 or above says nothing exact, so
/// there the images' own labels stand alone. Files of some tools have key 0 but no identity
/// records; the second value of key 0 then means something else and is not looked at. Any other
/// file is a plain one: every key is an image. Throws DataError where the two files disagree or a
/// record is not what it must be.
RecordIndex index_records(const RecordReader& rec, RecordList listed, const std::string& idx_name);

/// The same for a file without `.idx`, by a scan of the whole file. A record's key is not in the
/// `.rec`, but all writers of the field put it into the image header as `id`: where the ids are all
/// different they are the keys. Otherwise keys are counted in file order from 0, as MXNet's own
/// rec2idx does.
RecordIndex index_records(const RecordReader& rec);

/// The number of identities that a `property` file ("C,112,112") tells. Throws DataError.
std::int64_t parse_property(std::string_view text, const std::string& name);

/// Throws DataError where `property`'s number of identities cannot be that of the indexed file.
void check_property(const RecordIndex& index, std::int64_t identities,
                    const std::string& property_name);

}  // namespace pfc
