#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pfc {

class MappedFile;

/// Starts every record of a RecordIO file, and every part of a split one.
inline constexpr std::uint32_t kRecordMagic = 0xCED7230A;
/// The payload of a record, and of each part of a split one, is shorter than this.
inline constexpr std::size_t kRecordSizeLimit = std::size_t{1} << 29;
/// Identities in this project are below it: numbers of 32 bits with a sign.
inline constexpr std::int64_t kMostIdentities = (std::int64_t{1} << 31) - 1;

/// One record of a RecordIO file.
struct Record {
  std::span<const std::byte> payload;  ///< in the file's bytes, or in scratch where it was split
  std::uint64_t end = 0;               ///< offset of the next record
};

/// The payload of a record of an image set: a header (`IfQQ`: flag, label, id, id2), labels, the
/// encoded image.
struct ImageRecord {
  std::uint32_t flag = 0;  ///< 0: one label, in the header; else the number of labels after it
  std::uint64_t id = 0;
  std::uint64_t id2 = 0;
  std::span<const std::byte> labels;  ///< float32, not aligned; see `label`
  std::span<const std::byte> image;   ///< JPEG or PNG; empty in a record that holds a range of keys
  std::uint64_t end = 0;              ///< offset of the next record

  std::size_t label_count() const { return labels.size() / sizeof(float); }
  /// `i` below label_count(), which is at least 1.
  float label(std::size_t i) const;
  /// A header or identity record of the face layout: labels [first, last) and no image.
  bool holds_range() const { return flag >= 2 && image.empty(); }
};

/// Reads the records of an MXNet RecordIO file that lies in memory, mapped as a rule. Records stand
/// on multiples of 4 bytes: the magic, 3 bits of flag (0 whole, 1 first, 2 middle, 3 last part) and
/// 29 bits of length, the payload, zeros up to the next multiple of 4. A payload that holds the
/// magic on a multiple of 4 is split there, and the magic left out; the reader puts it back.
/// Nothing outside `bytes` is ever touched. Reading is safe from several threads.
class RecordReader {
 public:
  /// `name` stands for the file in messages. `bytes` must outlive the reader and what it returns.
  RecordReader(std::span<const std::byte> bytes, std::string name);
  /// The same of a mapped file, which must outlive the reader.
  explicit RecordReader(const MappedFile& file);

  /// The record that begins at `offset`. Throws DataError, naming the offset, where none does.
  Record record_at(std::uint64_t offset, std::vector<std::byte>& scratch) const;
  /// The same, with its payload taken apart. Throws DataError where the payload is too short for
  /// what it says it holds.
  ImageRecord image_record_at(std::uint64_t offset, std::vector<std::byte>& scratch) const;

  /// Gives the pages of a mapped file back to the system; what is read again is mapped again.
  void forget() const;

  std::uint64_t size() const { return bytes_.size(); }
  const std::string& name() const { return name_; }

 private:
  struct Part;
  Part part_at(std::uint64_t offset) const;

  std::span<const std::byte> bytes_;
  std::string name_;
  const MappedFile* file_ = nullptr;
};

/// Appends `payload` to `out` as a record, split where it must be. Throws Error where it is
/// kRecordSizeLimit long or longer.
void append_record(std::span<const std::byte> payload, std::vector<std::byte>& out);

/// Writes an image set in the face layout: images have keys 1…N, those of an identity one after
/// another, and a scalar label; identity c has key N+1+c and, as labels, the range of its image
/// keys; key 0, the last record, has the range of the identity records. `.idx` and `property` are
/// written beside the `.rec`. Nothing stands under a final name before `commit`, and at no instant
/// does a new `.rec` stand beside an old `.idx`. Takes 12 bytes of memory an image. Every failure
/// throws Error.
///
/// A label is a float32, which is exact up to 2^24. A larger identity stands in `id2` of its images
/// as well, which key 0's `id2` announces; smaller sets are as other tools write them.
class FaceRecordWriter {
 public:
  explicit FaceRecordWriter(const std::filesystem::path& rec);
  ~FaceRecordWriter();
  FaceRecordWriter(const FaceRecordWriter&) = delete;
  FaceRecordWriter& operator=(const FaceRecordWriter&) = delete;

  /// The next image, encoded. Identities come in any order; those between that have no image get
  /// an empty range.
  void add(std::int64_t identity, std::span<const std::byte> image);
  /// `width` and `height` are the images', for `property`.
  void commit(int width = 112, int height = 112);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
